"""`zerosearch index`: builds the index of a passage file in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from agents.evaluation.progress import ProgressBar
from zs_env.engines import BM25Engine, DenseEngine
from zs_env.engines.retrieval.bm25 import K1, B
from zs_env.engines.retrieval.dense import DEFAULT_MODEL
from zs_env.engines.retrieval.passage_file import index_folder
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Index a passage file for BM25 or dense retrieval.

    An interrupted dense index resumes. An engine with the same settings uses the index:
    {"kind": "bm25", "passages": FILE, "index": FOLDER}.

    Attributes:
        passages: JSONL or Parquet file, plain or gzipped; rows have "text" and optionally "id" and
            "title".
        output: folder of the index; FILE.bm25 or FILE.dense by default.
        kind: kind of the index.
        k1: BM25: saturation of repeated words; higher values saturate later.
        b: BM25: length normalization, in [0, 1].
        model: dense: folder or hub name of a sentence-transformers model.
        passage_prefix: dense: prefix of every passage, such as "passage: " for E5.
        factory: dense: faiss index factory string, such as "Flat", "IVF4096,Flat" or "HNSW32".
        device: dense: device of the model.
        batch_size: dense: passages per embedding batch.
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

    def __post_init__(self) -> None:
        expand_paths(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Build the index if it does not exist; returns the exit status."""
    config = tyro.cli(IndexConfig, prog="zerosearch index", args=argv)
    output = config.output or index_folder(config.passages, config.kind)
    with ProgressBar(Console(stderr=True), f"indexing {config.passages}") as bar:
        _build(config, output, bar)
    size = sum(path.stat().st_size for path in output.iterdir())
    Console(stderr=True).print(f"{output}: {size / 2**20:,.0f} MiB", highlight=False)
    return 0


def _build(config: IndexConfig, output: Path, bar: ProgressBar) -> None:
    if config.kind == "bm25":
        BM25Engine(config.passages, output, k1=config.k1, b=config.b, progress=bar.count)
    else:
        DenseEngine(
            config.passages,
            output,
            model=config.model,
            passage_prefix=config.passage_prefix,
            factory=config.factory,
            device=config.device,
            batch_size=config.batch_size,
            progress=bar.count,
        )
