"""BM25 over a passage file or a list of passages: a real and deterministic search engine.

A page depends only on the query and the number of documents, not on question, gold answers, useful
flags or seed, so the engine can be used to evaluate a policy. Of passages with equal scores, the
first one in the corpus comes first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from zs_env.engines.retrieval.bm25_index import (
    INDEX_VERSION,
    Postings,
    build_postings,
    open_index,
)
from zs_env.engines.retrieval.passage_file import Passage, Progress, index_folder
from zs_env.engines.retrieval.ranked_passages import PassageEngine
from zs_env.text.numbers import as_float, as_probability
from zs_env.text.paths import local_path
from zs_env.text.words import content_words

K1, B = 1.2, 0.75
_BLOCK = 256


class BM25Engine(PassageEngine):
    """Orders passages by BM25 (Lucene's variant) of the query's content words.

    A passage without any of them is not found, so a page may be short or empty.

    Args:
        passages: JSONL or Parquet file, plain or gzipped, whose rows have `text` (or `contents`)
            and optionally `id` and `title`; or a folder of .txt and .md files.
        index: folder of the index; it is built if missing or outdated, and memory-mapped. None
            stands for `<passages>.bm25`.
        k1: BM25's term saturation, at least 0.
        b: BM25's length normalization, in [0, 1].
        progress: whether to show a progress bar, or a function that is called at most twice a
            second with what is counted, how many, and the total; None shows a bar on a terminal
            only.

    Raises:
        FileNotFoundError: if the passage file is missing.
        ImportError: if bm25s is missing and the index has to be built.
        ValueError: if `k1` or `b` is out of range, the index folder has other files, or a row is
            malformed; the message names file, line, field and fix.
        OSError: if the index cannot be written.
    """

    name = "bm25"
    _full_texts: Sequence[str | None] = ()

    def __init__(
        self,
        passages: str | Path,
        index: str | Path | None = None,
        *,
        k1: float = K1,
        b: float = B,
        progress: Progress | None = None,
    ) -> None:
        _check_parameters(k1, b)
        corpus = local_path(passages)
        folder = index_folder(corpus, self.name) if index is None else local_path(index)
        self._opened_again: Any = partial(BM25Engine, corpus, folder, k1=k1, b=b)
        self._postings, self._passages, self.fingerprint = open_index(
            corpus,
            folder,
            k1=k1,
            b=b,
            progress=sys.stderr.isatty() if progress is None else progress,
        )

    @classmethod
    def from_passages(
        cls, passages: Iterable[Mapping[str, str]], *, k1: float = K1, b: float = B
    ) -> BM25Engine:
        """Index passages in memory.

        Args:
            passages: mappings with `text` and optionally `id`, `title` and `full_text`, which is
                what opening the passage shows.
            k1: BM25's term saturation, at least 0.
            b: BM25's length normalization, in [0, 1].

        Raises:
            ImportError: if bm25s is missing.
            ValueError: if `k1` or `b` is out of range, or no passage contains a word.
        """
        _check_parameters(k1, b)
        engine = cls.__new__(cls)
        passages = list(passages)
        rows = [
            Passage(str(row.get("id", number)), row.get("title", ""), row["text"])
            for number, row in enumerate(passages)
        ]
        engine._full_texts = [row.get("full_text") for row in passages]
        engine._opened_again = None
        engine._passages = rows
        engine._postings = build_postings(rows, k1=k1, b=b)
        digest = blake2b(digest_size=16)
        for row in rows:
            digest.update(repr(row).encode("utf-8", "replace"))
        if any(engine._full_texts):
            digest.update(repr(engine._full_texts).encode("utf-8", "replace"))
        engine.fingerprint = f"bm25-{INDEX_VERSION}:{k1}:{b}:{len(rows)}:{digest.hexdigest()}"
        return engine

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # A pickled copy maps the same files instead of containing them.
        if self._opened_again is None:
            return super().__reduce_ex__(protocol)
        return self._opened_again, ()

    @property
    def passages(self) -> Sequence[Passage]:
        """All passages, in the order of their file."""
        return self._passages

    def full_text(self, number: int) -> str:
        """Return the text of the document to which the passage of this number belongs."""
        own = self._full_texts[number] if self._full_texts else None
        return super().full_text(number) if own is None else own

    def rank(self, query: str, count: int) -> Iterator[tuple[Passage, float]]:
        """Return at most `count` passages with their scores, best first."""
        numbers, scores = top_passages(self._postings, len(self._passages), query, count)
        return (
            (self._passages[number], score) for number, score in zip(numbers, scores, strict=True)
        )


def _check_parameters(k1: float, b: float) -> None:
    if as_float("BM25's k1", k1) < 0.0:
        raise ValueError(f"BM25's k1 must be at least 0, got {k1}")
    as_probability("BM25's b", b)


def top_passages(
    postings: Postings, num_passages: int, query: str, count: int
) -> tuple[list[int], list[float]]:
    """Return numbers and scores of the best passages, at most `count`, all above 0.

    The order of the query's words has no effect. Of equal scores, the lower number comes first.
    """
    vocabulary, starts = postings.vocabulary, postings.starts
    # Sorted, because a float32 sum depends on its order. A repeated word counts repeatedly.
    words = sorted(vocabulary[word] for word in content_words(query) if word in vocabulary)
    if not words:
        return [], []
    scores: npt.NDArray[np.float32] = np.zeros(num_passages, np.float32)
    ends = starts[[word + 1 for word in words]]
    for start, end in zip(starts[words].tolist(), ends.tolist(), strict=True):
        np.add.at(scores, postings.passages[start:end], postings.scores[start:end])
    # The best `count` blocks contain `count` passages with at least the smallest of their maxima,
    # so no passage below it is among the best: most of the corpus is never sorted.
    maxima = np.sort(np.maximum.reduceat(scores, np.arange(0, num_passages, _BLOCK)))
    bar = maxima[-count] if count <= len(maxima) else 0.0
    numbers = np.flatnonzero(scores >= bar if bar > 0 else scores)
    # `numbers` ascend and the sort is stable: of equal scores, the first passage wins.
    numbers = numbers[np.argsort(-scores[numbers], kind="stable")][:count]
    return numbers.tolist(), scores[numbers].tolist()
