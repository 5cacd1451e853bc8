"""Passages of a corpus file, and index folders.

An index folder has a copy of the passages, so that a passage can be read without unpacking the
corpus file, and the fingerprint of the corpus file, so that an outdated index is noticed.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zs_env.questions.rows import read_rows
from zs_env.text.contents import title_and_text

# Whether to show a progress bar; or a function that takes the unit, the count and the total.
Progress = bool | Callable[[str, int, int | None], object]
_REPORT_EVERY_S = 0.5
_DECODER = json.JSONDecoder()
_TEXT_SUFFIXES = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of a corpus."""

    id: str
    title: str
    text: str


class StoredPassages(Sequence[Passage]):
    """The passages of an index folder, read one at a time from a memory-mapped file."""

    def __init__(self, folder: Path) -> None:
        # Items of a memoryview are plain integers.
        self._offsets = mapped(folder / "offsets.npy").data
        with (folder / "passages.jsonl").open("rb") as stream:
            self._lines = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if index < 0:
            index += len(self)
        # The file is ASCII, and this is twice as fast as `json.loads` of bytes.
        line = self._lines[self._offsets[index] : self._offsets[index + 1]].decode("ascii")
        return Passage(*_DECODER.raw_decode(line)[0])


def read_passages(path: Path) -> Iterator[Passage]:
    """Yield the passages of a JSONL or Parquet file, plain or gzipped, or of a folder of texts.

    A row has `text` and optionally `title`, or `contents`; see `zs_env.text.contents`. It may have
    `id`. In a folder, also in its subfolders, each .txt or .md file is a passage: its path in the
    folder is the id, its name the title.

    Raises:
        ValueError: if a row is malformed or a text is not UTF-8; the message names file, line,
            field and fix.
    """
    if path.is_dir():
        for file in text_files(path):
            try:
                text = file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise ValueError(f"{file} is not UTF-8 ({error}); save it as UTF-8") from error
            if text.strip():
                yield Passage(file.relative_to(path).as_posix(), file.stem, text.strip())
        return
    for place, row in read_rows(path):
        if row.get("title") is not None and not isinstance(row["title"], str):
            raise place.error("title", row["title"], "a string, or no title")
        found = title_and_text(row)
        if found is None:
            raise place.error("text", row.get("text"), "a string in 'text' or 'contents'")
        title, text = found
        number = row.get("id")
        yield Passage(str(place.number if number is None else number), title, text)


def text_files(folder: Path) -> list[Path]:
    """Return the .txt and .md files of a folder and its subfolders, in order.

    Raises:
        ValueError: if there is none.
    """
    files = [path for path in folder.rglob("*") if path.suffix.lower() in _TEXT_SUFFIXES]
    found = sorted(path for path in files if path.is_file())
    if not found:
        raise ValueError(
            f"the folder {folder} holds no .txt or .md file; pass such a folder, or a JSONL or "
            "Parquet file of passages"
        )
    return found


def copy_passages(corpus: Path, folder: Path, *, progress: Progress = False) -> Iterator[Passage]:
    """Yield the passages of a corpus file, and write each to an index folder."""
    offsets = [0]
    with (folder / "passages.jsonl").open("wb") as lines:
        for passage in shown(read_passages(corpus), "reading passages", progress):
            line = json.dumps([passage.id, passage.title, passage.text]).encode() + b"\n"
            lines.write(line)
            offsets.append(offsets[-1] + len(line))
            yield passage
    np.save(folder / "offsets.npy", np.asarray(offsets, np.int64))


def file_fingerprint(path: Path) -> str:
    """Return the size of a file and a hash of its content; of a folder, those of its texts.

    The hash is computed once in a process, as long as the file's status does not change. Hashing
    takes about one second per GB.

    Raises:
        FileNotFoundError: if there is neither a file nor a folder.
        ValueError: if a folder has no .txt or .md file.
    """
    if path.is_dir():
        texts = [(str(one.relative_to(path)), file_fingerprint(one)) for one in text_files(path)]
        return f"{len(texts)}:{blake2b(repr(texts).encode(), digest_size=16).hexdigest()}"
    if not path.is_file():
        raise FileNotFoundError(
            f"passage file {path} does not exist; pass a JSONL or Parquet file, or a folder of "
            ".txt or .md files"
        )
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key not in _fingerprints:
            digest = file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()
            # A change within one tick of the clock leaves the status as it is.
            if time.time() - max(status.st_mtime, status.st_ctime) < _SETTLED_S:
                return f"{status.st_size}:{digest}"
            _fingerprints[key] = digest
        return f"{status.st_size}:{_fingerprints[key]}"


_fingerprints: dict[tuple[int, ...], str] = {}
_SETTLED_S = 2.0  # after this time a file's status shows a further change


def index_folder(corpus: Path, kind: str) -> Path:
    """Return the default folder of an index: beside the corpus file."""
    return corpus.with_name(f"{corpus.name}.{kind}")


def put_in_place(partial: Path, folder: Path, fingerprint: str) -> None:
    """Write the fingerprint of a finished index, and rename its folder; replace an outdated one."""
    (partial / "index.json").write_text(json.dumps({"fingerprint": fingerprint}), "utf-8")
    for attempt in range(3):
        if stored_fingerprint(folder) == fingerprint:
            return  # another process was faster
        check_folder(folder)
        try:
            if folder.exists():
                # Processes that have mapped the outdated index keep its files.
                stale = partial.with_name(f"{partial.name}.stale")
                os.replace(folder, stale)
                shutil.rmtree(stale)
            os.replace(partial, folder)
        except OSError:
            # Another process may have moved the folder in the meantime: try again.
            if attempt == 2:
                raise
        else:
            return


def check_folder(folder: Path) -> None:
    """Raise ValueError if an index folder is a file, or has files that are not an index."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the index {folder} is a file, expected a folder; choose another one")
    if folder.exists() and not (folder / "index.json").is_file() and any(folder.iterdir()):
        raise ValueError(f"{folder} has files that are not an index; choose another folder")


def create_partial(partial: Path, folder: Path) -> None:
    """Create the folder in which the index `folder` is built, unless it exists.

    Raises:
        OSError: if it cannot be created; the message names the index folder and the fix.
    """
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"the index folder {folder} cannot be created ({error.strerror}); choose another one: "
            "the field 'index' of the engine, or the flag of the command"
        ) from error


def stored_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of an index; None if there is no index."""
    try:
        return json.loads((folder / "index.json").read_text("utf-8"))["fingerprint"]
    except (FileNotFoundError, NotADirectoryError):
        return None


def mapped(path: Path) -> npt.NDArray[Any]:
    """Return an array of a file, memory-mapped."""
    # A plain view, because slices of numpy's memmap class are many times slower.
    return np.asarray(np.load(path, mmap_mode="r"))


def shown(things: Iterable[Any], what: str, progress: Progress) -> Iterable[Any]:
    """Return an iterable whose progress is reported."""
    if callable(progress):
        return _reported(things, what, progress)
    if not progress:
        return things
    from rich.console import Console
    from rich.progress import track

    return track(things, description=what, console=Console(stderr=True))


def _reported(
    things: Iterable[Any], what: str, report: Callable[[str, int, int | None], object]
) -> Iterator[Any]:
    total = len(things) if isinstance(things, Sized) else None
    reported_s = 0.0
    for count, thing in enumerate(things):
        if time.monotonic() - reported_s > _REPORT_EVERY_S:
            report(what, count, total)
            reported_s = time.monotonic()
        yield thing
