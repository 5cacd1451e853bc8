"""Dense retrieval over a passage file: a sentence encoder and a faiss index on the disk.

Like BM25 it looks at nothing of a request but its query. Queries are embedded one at a time, so
that a page never depends on the batch; of equal scores on a page the passage that stands first in
the corpus comes first.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zs_env.engines.retrieval.dense_index import Encoder, load_encoder, open_index
from zs_env.engines.retrieval.passage_file import Passage, index_folder
from zs_env.engines.retrieval.ranked_passages import ranked_pages
from zs_env.search.engine import Answer, SearchEngine
from zs_env.search.types import SearchRequest

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class DenseEngine(SearchEngine):
    """Ranks passages by the cosine of their embedding with the query's.

    Args:
        passages: JSONL or Parquet file, plain or gzipped, rows with `text` (or `contents`) and
            maybe `id` and `title`.
        index: folder of the index; built where it is missing or stale, which goes on where it was
            stopped, and memory-mapped otherwise. `<passages>.dense` where None.
        model: folder or hub name of a sentence-transformers model.
        query_prefix: put before every query, such as "query: " for E5.
        passage_prefix: put before every passage.
        factory: the index as `faiss.index_factory` spells it. "Flat" compares with every passage
            and is exact; "IVF4096,Flat" or "HNSW32" are faster on many millions, and not exact.
        device: where the encoder runs, such as "cpu" or "cuda".
        batch_size: passages embedded at a time when the index is built.
        progress: whether to show the building; where None, only on a terminal.

    Raises:
        FileNotFoundError: if the passage file is missing.
        ImportError: if sentence-transformers or faiss is missing.
        ValueError: if a row is malformed, naming file, line, field and fix, or `factory` is.
    """

    name = "dense"
    in_process = True
    query_only = True

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
        progress: bool | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        corpus = Path(passages)
        folder = index_folder(corpus, self.name) if index is None else Path(index)
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
        # A tokenizer is not made for several threads.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process maps the same files instead of carrying them along.
        return self._opened_again, ()

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with at most the requested number of documents."""
        return ranked_pages(requests, self._rank, self.name)

    def _rank(self, query: str, count: int) -> Iterator[tuple[Passage, float]]:
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
