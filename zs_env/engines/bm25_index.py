"""A BM25 index on disk: posting lists, vocabulary and passages, all memory-mapped.

The folder holds a copy of the passages, so that one of them can be read without unpacking the
corpus file, and the fingerprint of the corpus file, so that an index never answers for another.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zs_env.engines.words import content_words
from zs_env.rows import read_rows

# Part of every fingerprint: raise it when the same corpus would be ranked otherwise.
INDEX_VERSION = 1
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of a corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Postings:
    """For each word the passages that hold it, with what it adds to their BM25 score.

    Attributes:
        vocabulary: word to word id.
        starts: [words + 1] where each word's postings begin.
        passages: [postings] passage numbers, ascending within a word.
        scores: [postings] contributions, float32, above 0.
    """

    vocabulary: Mapping[str, int]
    starts: npt.NDArray[np.int64]
    passages: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


class StoredPassages(Sequence[Passage]):
    """The passages of an index folder, read one at a time from a memory-mapped file."""

    def __init__(self, folder: Path) -> None:
        self._offsets = _mapped(folder / "offsets.npy")
        with (folder / "passages.jsonl").open("rb") as stream:
            self._lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        start, end = self._offsets[index : index + 2].tolist()
        return Passage(*json.loads(self._lines[start:end]))


def build_postings(
    passages: Iterable[Passage], *, k1: float, b: float, progress: bool = False
) -> Postings:
    """Count and score the words of all passages, titles included.

    Raises:
        ImportError: if bm25s is missing.
        ValueError: if no passage holds a word.
    """
    try:
        import bm25s
    except ImportError as error:
        raise ImportError(
            'BM25 needs the bm25s library: pip install "zerosearch-gym[retrieval]"'
        ) from error
    vocabulary: dict[str, int] = {}
    word_ids = [
        [vocabulary.setdefault(word, len(vocabulary)) for word in _words(passage)]
        for passage in passages
    ]
    if not vocabulary:
        raise ValueError("no passage holds a word; expected passages with a title or a text")
    index = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
    index.index((word_ids, vocabulary), create_empty_token=False, show_progress=progress)
    scores = index.scores
    return Postings(
        vocabulary,
        np.asarray(scores["indptr"], np.int64),
        np.asarray(scores["indices"], np.int32),
        np.asarray(scores["data"], np.float32),
    )


def open_index(
    corpus: Path, folder: Path, *, k1: float, b: float, progress: bool = False
) -> tuple[Postings, StoredPassages, str]:
    """Open the index of a corpus file; build it first where there is none, or a stale one.

    It is written beside its place and renamed, so that another process, or a kill, never meets
    half an index.

    Returns:
        Postings and passages, memory-mapped, and the index's fingerprint.

    Raises:
        FileNotFoundError: if the corpus file is missing.
        ValueError: if a line of it is not a passage, or the folder holds other files.
        OSError: if the folder cannot be written.
    """
    fingerprint = f"bm25-{INDEX_VERSION}:{k1}:{b}:{file_fingerprint(corpus)}"
    if _stored_fingerprint(folder) != fingerprint:
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        partial.mkdir(parents=True)
        try:
            _write_index(corpus, partial, fingerprint, k1=k1, b=b, progress=progress)
            _put_in_place(partial, folder, fingerprint)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    postings = Postings(
        {word: number for number, word in enumerate(vocabulary)},
        _mapped(folder / "starts.npy"),
        _mapped(folder / "postings.npy"),
        _mapped(folder / "scores.npy"),
    )
    return postings, StoredPassages(folder), fingerprint


def read_passages(path: Path) -> Iterator[Passage]:
    """Yield the passages of a JSONL or Parquet file, plain or gzipped.

    A row has `text` (or `contents`, whose first line is then the title in quotes) and may have
    `id` and `title`.

    Raises:
        ValueError: naming file, line, field and fix.
    """
    for place, row in read_rows(path):
        title, text = row.get("title") or "", row.get("text")
        if text is None and isinstance(row.get("contents"), str):
            title, _, text = row["contents"].partition("\n")
            title = title.strip('"')
        if not isinstance(text, str):
            raise place.error("text", text, "a string in 'text' or 'contents': the passage's words")
        if not isinstance(title, str):
            raise place.error("title", title, "a string, or no title at all")
        number = row.get("id")
        yield Passage(str(place.number if number is None else number), title, text)


def file_fingerprint(path: Path) -> str:
    """Size of a file and hash of its first and last MiB.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"passage file {path} does not exist; give a JSONL or Parquet file")
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE_BYTES)
        stream.seek(max(size - _SAMPLE_BYTES, 0))
        tail = stream.read()
    return f"{size}:{blake2b(head + tail, digest_size=16).hexdigest()}"


def _mapped(path: Path) -> npt.NDArray[Any]:
    # A plain view, because slices of numpy's memmap class cost many times as much.
    return np.asarray(np.load(path, mmap_mode="r"))


def _words(passage: Passage) -> list[str]:
    return content_words(f"{passage.title} {passage.text}")


def _write_index(
    corpus: Path, folder: Path, fingerprint: str, *, k1: float, b: float, progress: bool
) -> None:
    offsets = [0]

    def stored() -> Iterator[Passage]:
        with (folder / "passages.jsonl").open("wb") as lines:
            for passage in read_passages(corpus):
                line = json.dumps([passage.id, passage.title, passage.text]).encode() + b"\n"
                lines.write(line)
                offsets.append(offsets[-1] + len(line))
                yield passage

    postings = build_postings(_with_progress(stored(), progress), k1=k1, b=b, progress=progress)
    np.save(folder / "offsets.npy", np.asarray(offsets, np.int64))
    np.save(folder / "starts.npy", postings.starts)
    np.save(folder / "postings.npy", postings.passages)
    np.save(folder / "scores.npy", postings.scores)
    (folder / "vocabulary.json").write_text(json.dumps([*postings.vocabulary]), "utf-8")
    (folder / "index.json").write_text(json.dumps({"fingerprint": fingerprint}), "utf-8")


def _put_in_place(partial: Path, folder: Path, fingerprint: str) -> None:
    for attempt in range(3):
        if _stored_fingerprint(folder) == fingerprint:
            return  # another process was faster
        if folder.exists() and not (folder / "index.json").is_file() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds files that are no BM25 index; give another folder")
        try:
            if folder.exists():
                # Who has the stale index mapped keeps its files until he lets go of them.
                stale = partial.with_name(f"{partial.name}.stale")
                os.replace(folder, stale)
                shutil.rmtree(stale)
            os.replace(partial, folder)
        except OSError:
            # Another process may have moved the folder in between: look again.
            if attempt == 2:
                raise
        else:
            return


def _stored_fingerprint(folder: Path) -> str | None:
    try:
        return json.loads((folder / "index.json").read_text("utf-8"))["fingerprint"]
    except FileNotFoundError:
        return None


def _with_progress(passages: Iterable[Passage], progress: bool) -> Iterable[Passage]:
    if not progress:
        return passages
    from rich.console import Console
    from rich.progress import track

    return track(passages, description="reading passages", console=Console(stderr=True))
