"""Rows of a JSONL or Parquet file, plain or gzipped, with their locations for error messages.

The format is detected from the first bytes of a file, not from its name.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from zs_env.text.paths import local_path

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
# Error handler of UTF-8 files: a lone surrogate, which UTF-8 cannot encode, becomes a JSON escape.
HALF_CHARACTERS = "backslashreplace"


@dataclass(frozen=True, slots=True)
class RowLocation:
    """The location of a row.

    Attributes:
        origin: path of the file or name of the data set.
        number: line number, from 1, in text files; row number, from 0, in tables.
        unit: "line" or "row".
    """

    origin: str
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.origin}, {self.unit} {self.number}"

    def error(self, field: str, got: object, expected: str) -> ValueError:
        """Return the error for a malformed field; `expected` includes the fix."""
        shown = repr(got)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ValueError(
            f"{self}, field {field!r}: got {shown} ({type(got).__name__}), expected {expected}"
        )


def read_rows(path: str | Path) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    """Yield the rows of a file with their locations; blank lines are skipped.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is empty, truncated or not UTF-8, a line is not a JSON object, or a
            number is not finite, with file, line (row in Parquet) and fix.
        ImportError: if the file is Parquet and pyarrow is not installed.
    """
    path = local_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the path of a JSONL or Parquet file")
    with path.open("rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        if not head:
            raise ValueError(f"{path} is empty; expected one JSON object per line or Parquet")
        if head.startswith(_GZIP_MAGIC):
            yield from _read_gzip(path, raw)
        else:
            yield from _read_stream(path, raw, head)


def write_rows(path: Path, things: Iterable[Any]) -> None:
    """Write dataclass instances as a JSONL file, atomically."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            file.writelines(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in things)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_gzip(path: Path, raw: BinaryIO) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    with gzip.open(raw, "rb") as stream:
        try:
            head = stream.read(4)
        except _BROKEN_GZIP as error:
            raise _truncated(str(path), error) from error
        if not head:
            raise ValueError(f"{path} is an empty gzip file; expected one JSON object per line")
        stream.seek(0)
        yield from _read_stream(path, stream, head)


def _read_stream(
    path: Path, stream: Any, head: bytes
) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    rows = _parquet_rows(path, stream) if head == _PARQUET_MAGIC else _json_rows(path, stream)
    empty = True
    for location, row in rows:
        empty = False
        _check_finite(location, row)
        yield location, row
    if empty:
        raise ValueError(f"{path} contains no rows, expected at least one")


def _json_rows(path: Path, stream: Any) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    number = 0
    lines = iter(stream)
    while True:
        number += 1
        location = RowLocation(str(path), number)
        try:
            line = next(lines, None)
        except _BROKEN_GZIP as error:
            raise _truncated(str(location), error) from error
        if line is None:
            return
        if number == 1:
            if line.startswith(_UTF16_BOMS):
                raise ValueError(f"{location}: the file is UTF-16; save it as UTF-8")
            line = line.removeprefix(_UTF8_BOM)
            if line.lstrip()[:1] == b"[":
                yield from _array_rows(path, line, lines)
                return
        if line.strip():
            yield location, _parse_line(location, line)


def _array_rows(
    path: Path, first: bytes, lines: Iterator[bytes]
) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    """Yield the objects of a file that is one JSON list, such as HotpotQA's."""
    try:
        rows = json.loads((first + b"".join(lines)).decode("utf-8"))
    except _BROKEN_GZIP as error:
        raise _truncated(str(path), error) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} begins with '[', but is not a JSON list of objects ({error}); write one JSON "
            "object per line, or one list of objects"
        ) from error
    for number, row in enumerate(rows):
        location = RowLocation(str(path), number, "row")
        if not isinstance(row, dict):
            raise ValueError(f"{location}: got a JSON {type(row).__name__}, expected an object")
        yield location, row


def _parse_line(location: RowLocation, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{location}: byte {error.start} is not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{location}: not JSON ({error}); write one JSON object per line"
        ) from error
    if not isinstance(row, dict):
        raise ValueError(
            f"{location}: got a JSON {type(row).__name__}, expected an object "
            '{"question": ..., "answers": [...]}; write one object per line'
        )
    return row


def _parquet_rows(path: Path, stream: Any) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f'{path} is Parquet, which needs pyarrow: pip install "zerosearch-gym[data]"'
        ) from error
    try:
        # Parquet is read from its end, so a gzipped file has to be decompressed completely.
        table = pyarrow.parquet.ParquetFile(
            io.BytesIO(stream.read()) if isinstance(stream, gzip.GzipFile) else stream
        )
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                yield RowLocation(str(path), number, "row"), row
                number += 1
    except (pyarrow.ArrowException, OSError, OverflowError, *_BROKEN_GZIP) as error:
        raise ValueError(
            f"{path}: not readable as Parquet ({error}); the file is damaged or truncated, "
            "or has dates that Python cannot represent: write or download it again"
        ) from error


def _check_finite(location: RowLocation, row: Mapping[str, Any]) -> None:
    for field, value in row.items():
        if _has_nan(value):
            raise location.error(field, value, "finite numbers; omit the field or write null")


def _has_nan(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    return isinstance(value, list) and any(map(_has_nan, value))


def _truncated(where: str, error: Exception) -> ValueError:
    return ValueError(
        f"{where}: the gzip stream is damaged or truncated ({error}); write or download it again"
    )
