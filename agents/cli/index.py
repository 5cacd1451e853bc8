"""`zerosearch index`: builds the index of a passage file ahead of the run that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from zs_env.engines import BM25Engine, DenseEngine
from zs_env.engines.retrieval.bm25 import K1, B
from zs_env.engines.retrieval.dense import DEFAULT_MODEL
from zs_env.engines.retrieval.passage_file import index_folder


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Index a passage file for BM25 or dense retrieval.

    A dense index that was stopped goes on where it was. The engine that is opened with the same
    settings maps what was built: {"kind": "bm25", "passages": FILE, "index": FOLDER}.

    Attributes:
        passages: JSONL or Parquet file, plain or gzipped, rows with "text" and maybe "id", "title".
        output: folder of the index; FILE.bm25 or FILE.dense by default.
        kind: of the index.
        k1: of BM25: how slowly repeated words saturate.
        b: of BM25: how much long passages are held back, in [0, 1].
        model: of a dense index: folder or hub name of a sentence-transformers model.
        passage_prefix: of a dense index: put before every passage, such as "passage: " for E5.
        factory: of a dense index, as faiss spells it: "Flat", "IVF4096,Flat", "HNSW32".
        device: of a dense index: where the model runs.
        batch_size: of a dense index: passages embedded at a time.
    """

    passages: Path
    output: Path | None = None
    kind: Literal["bm25", "dense"] = "bm25"
    k1: float = K1
    b: float = B
    model: str = DEFAULT_MODEL
    passage_prefix: str = ""
    factory: str = "Flat"
    device: str = "cpu"
    batch_size: int = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Build the index, or say that it is there; returns the exit status."""
    config = tyro.cli(IndexConfig, prog="zerosearch index", args=argv)
    output = config.output or index_folder(config.passages, config.kind)
    if config.kind == "bm25":
        BM25Engine(config.passages, output, k1=config.k1, b=config.b, progress=True)
    else:
        DenseEngine(
            config.passages,
            output,
            model=config.model,
            passage_prefix=config.passage_prefix,
            factory=config.factory,
            device=config.device,
            batch_size=config.batch_size,
            progress=True,
        )
    size = sum(path.stat().st_size for path in output.iterdir())
    Console(stderr=True).print(f"{output}: {size / 2**20:,.0f} MiB", highlight=False)
    return 0
