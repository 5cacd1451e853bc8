"""A dense index on disk: passages, and a faiss index of their embeddings, both memory-mapped.

Embedding a corpus on a CPU takes hours, so a build can be interrupted: finished vectors are stored
in a folder beside the index, and the next build continues after them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zs_env.engines.retrieval.passage_file import (
    Passage,
    Progress,
    StoredPassages,
    check_folder,
    copy_passages,
    create_partial,
    file_fingerprint,
    put_in_place,
    shown,
    stored_fingerprint,
)
from zs_env.text.hashing import stable_hash
from zs_env.text.locks import exclusive_lock
from zs_env.text.paths import expand_home

_VERSION = 1
_MAX_TRAINING_VECTORS = 262_144
_NEEDED = 'dense retrieval needs {name}: pip install "zerosearch-gym[dense]"'


class Encoder:
    """Maps texts to vectors of length 1.

    Attributes:
        name: of the model; part of every fingerprint.
        size: dimension of a vector.
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model, self.name = model, name
        self.size = self.embed(["size"]).shape[1]

    def embed(self, texts: Sequence[str], batch_size: int = 1) -> npt.NDArray[np.float32]:
        """Return [texts, size] float32 vectors."""
        vectors = self._model.encode(
            # Tokenizers refuse lone surrogates.
            [text.encode("utf-8", "replace").decode("utf-8") for text in texts],
            batch_size=batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def load_encoder(model: str | Path, device: str = "cpu") -> Encoder:
    """Load a sentence-transformers model."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(_NEEDED.format(name="sentence-transformers")) from error
    name = expand_home(model)
    return Encoder(SentenceTransformer(name, device=device), name)


def open_index(
    corpus: Path,
    folder: Path,
    encoder: Encoder,
    *,
    passage_prefix: str = "",
    factory: str = "Flat",
    batch_size: int = 64,
    progress: Progress = False,
) -> tuple[Any, StoredPassages, str]:
    """Open the index of a corpus file; build it first if it is missing or outdated.

    If several processes need the same index, one builds it and the others wait.

    Returns:
        The faiss index and the passages, memory-mapped, and the index's fingerprint.

    Raises:
        FileNotFoundError: if the corpus file is missing.
        ImportError: if faiss is missing.
        ValueError: if a line of the corpus is not a passage, faiss does not know `factory`, or
            the folder has other files.
        OSError: if the folder cannot be written.
    """
    faiss = _import_faiss()
    fingerprint = (
        f"dense-{_VERSION}:{encoder.name}:{passage_prefix!r}:{factory}:{file_fingerprint(corpus)}"
    )
    if stored_fingerprint(folder) != fingerprint:
        check_folder(folder)
        # The name identifies the build, so that only its own vectors are continued.
        partial = folder.with_name(f".{folder.name}.{stable_hash(fingerprint):016x}")
        create_partial(partial, folder)
        with exclusive_lock(partial / "lock"):
            if stored_fingerprint(folder) != fingerprint:
                empty = _make_index(faiss, encoder.size, factory)
                vectors = _embed(corpus, partial, encoder, passage_prefix, batch_size, progress)
                _fill(empty, vectors, progress)
                faiss.write_index(empty, str(partial / "index.faiss"))
                for name in ("vectors.f32", "done.json"):
                    (partial / name).unlink()
                put_in_place(partial, folder, fingerprint)
                (folder / "lock").unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
    flags = faiss.IO_FLAG_MMAP_IFC if factory == "Flat" else faiss.IO_FLAG_MMAP
    index = faiss.read_index(str(folder / "index.faiss"), flags)
    return index, StoredPassages(folder), fingerprint


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(_NEEDED.format(name="faiss-cpu")) from error
    return faiss


def _make_index(faiss: Any, size: int, factory: str) -> Any:
    try:
        return faiss.index_factory(size, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(
            f"faiss does not know the index {factory!r} ({reason}); use, for example, "
            "'Flat', 'IVF4096,Flat' or 'HNSW32'"
        ) from None


def _embed(
    corpus: Path, folder: Path, encoder: Encoder, prefix: str, batch_size: int, progress: Progress
) -> npt.NDArray[np.float32]:
    """Embed the passages that are not embedded yet; return [passages, size], memory-mapped."""
    if not (folder / "offsets.npy").exists():
        for _ in copy_passages(corpus, folder, progress=progress):
            pass
    passages = StoredPassages(folder)
    done = _num_done(folder)
    starts = range(done, len(passages), batch_size)
    with (folder / "vectors.f32").open("ab") as file:
        # Drop vectors that a killed process wrote after its last record of progress.
        file.truncate(done * encoder.size * 4)
        for start in shown(starts, f"embedding passages from {done:,}", progress):
            batch = [passages[n] for n in range(start, min(start + batch_size, len(passages)))]
            texts = [prefix + _words(passage) for passage in batch]
            file.write(encoder.embed(texts, batch_size).tobytes())
            file.flush()
            os.fsync(file.fileno())
            _write_done(folder, start + len(batch))
    return np.memmap(
        folder / "vectors.f32", np.float32, mode="r", shape=(len(passages), encoder.size)
    )


def _words(passage: Passage) -> str:
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _num_done(folder: Path) -> int:
    try:
        return int(json.loads((folder / "done.json").read_text("utf-8"))["passages"])
    except FileNotFoundError:
        return 0


def _write_done(folder: Path, count: int) -> None:
    beside = folder / "done.json.new"
    beside.write_text(json.dumps({"passages": count}), "utf-8")
    os.replace(beside, folder / "done.json")


def _fill(index: Any, vectors: npt.NDArray[np.float32], progress: Progress) -> None:
    if not index.is_trained:
        step = max(len(vectors) // _MAX_TRAINING_VECTORS, 1)
        index.train(np.ascontiguousarray(vectors[::step]))
    starts = range(0, len(vectors), 65_536)
    for start in shown(starts, "adding to the index", progress):
        index.add(np.ascontiguousarray(vectors[start : start + 65_536]))
