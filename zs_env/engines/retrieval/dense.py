"""Dense retrieval over a passage file: a sentence encoder and a faiss index on disk.

As with BM25, a page depends only on the query and the number of documents. Queries are embedded one
at a time, so that a page does not depend on the batch. Of passages with equal scores, the first one
in the corpus comes first.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zs_env.engines.retrieval.dense_index import Encoder, load_encoder, open_index
from zs_env.engines.retrieval.passage_file import Passage, Progress, index_folder
from zs_env.engines.retrieval.ranked_passages import PassageEngine
from zs_env.text.paths import local_path

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class DenseEngine(PassageEngine):
    """Orders passages by the cosine of their embedding with the query's.

    Args:
        passages: JSONL or Parquet file, plain or gzipped, whose rows have `text` (or `contents`)
            and optionally `id` and `title`; or a folder of .txt and .md files.
        index: folder of the index; it is built if missing or outdated, and memory-mapped. An
            interrupted build is continued. None stands for `<passages>.dense`.
        model: folder or hub name of a sentence-transformers model.
        query_prefix: prepended to every query, such as "query: " for E5.
        passage_prefix: prepended to every passage.
        factory: a description for `faiss.index_factory`. "Flat" is exact; "IVF4096,Flat" and
            "HNSW32" are approximate and faster for many millions of passages.
        device: of the encoder, such as "cpu" or "cuda".
        batch_size: passages per batch when the index is built.
        progress: whether to show a progress bar, or a function that is called at most twice a
            second with what is counted, how many, and the total; None shows a bar on a terminal
            only.

    Raises:
        FileNotFoundError: if the passage file is missing.
        ImportError: if sentence-transformers or faiss is missing.
        ValueError: if a row is malformed (the message names file, line, field and fix), or
            `factory` is unknown.
    """

    name = "dense"

    def __init__(
        self,
        passages: str | Path,
        index: str | Path | None = None,
        *,
        model: str | Path = DEFAULT_MODEL,
        query_prefix: str = "",
        passage_prefix: str = "",
        factory: str = "Flat",
        device: str = "cpu",
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        corpus = local_path(passages)
        folder = index_folder(corpus, self.name) if index is None else local_path(index)
        self._opened_again = partial(
            DenseEngine,
            corpus,
            folder,
            model=model,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            factory=factory,
            device=device,
            batch_size=batch_size,
            progress=progress,
        )
        self._query_prefix = query_prefix
        self._encoder: Encoder = load_encoder(model, device)
        self._index, self._passages, fingerprint = open_index(
            corpus,
            folder,
            self._encoder,
            passage_prefix=passage_prefix,
            factory=factory,
            batch_size=batch_size,
            progress=sys.stderr.isatty() if progress is None else progress,
        )
        self.fingerprint = f"{fingerprint}:{query_prefix!r}"
        # Tokenizers are not thread-safe.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled copy maps the same files instead of containing them.
        return self._opened_again, ()

    def rank(self, query: str, count: int) -> Iterator[tuple[Passage, float]]:
        """Return at most `count` passages with their scores, best first."""
        if not query.strip():
            return iter(())
        with self._lock:
            vector = self._encoder.embed([self._query_prefix + query])
            scores, numbers = self._index.search(vector, min(count, len(self._passages)))
        ranked = sorted(
            (-float(score), int(number))
            for score, number in zip(scores[0], numbers[0], strict=True)
            if number >= 0 and np.isfinite(score)
        )
        return ((self._passages[number], -score) for score, number in ranked)
