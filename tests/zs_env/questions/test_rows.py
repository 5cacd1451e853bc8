"""Rows of JSONL and Parquet files, and the errors of malformed files."""

import gzip
import json

import pytest

from zs_env.questions.rows import read_rows

ROWS = [{"question": "Who?", "answers": ["Ada"]}, {"question": "Wo wär's?", "answers": ["Köln"]}]


def _jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write(tmp_path, content, name="questions.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def _rows(path):
    return [row for _, row in read_rows(path)]


def test_the_format_is_detected_from_the_content_and_not_from_the_name(tmp_path):
    assert _rows(_write(tmp_path, _jsonl(ROWS), "a.gz")) == ROWS
    assert _rows(_write(tmp_path, gzip.compress(_jsonl(ROWS)), "a.jsonl")) == ROWS


def test_parquet_plain_and_gzipped_gives_the_same_rows_as_json_lines(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "questions.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert _rows(path) == ROWS
    assert _rows(_write(tmp_path, gzip.compress(path.read_bytes()), "packed.parquet")) == ROWS


def test_a_byte_order_mark_and_blank_lines_are_skipped(tmp_path):
    path = _write(tmp_path, b"\xef\xbb\xbf" + _jsonl(ROWS[:1]) + b"\n  \n" + _jsonl(ROWS[1:]))
    assert [(place.number, row) for place, row in read_rows(path)] == [(1, ROWS[0]), (4, ROWS[1])]


def test_a_last_line_without_newline_is_read(tmp_path):
    assert _rows(_write(tmp_path, _jsonl(ROWS).rstrip(b"\n"))) == ROWS


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\n\n", "contains no rows"),
        (gzip.compress(b"", mtime=0), "empty gzip"),
        (_jsonl(ROWS) + b'{"question": \n', "line 3: not JSON"),
        (b"[\n", r"begins with '\[', but is not a JSON list"),
        (b'["a"]\n', "row 0: got a JSON str, expected an object"),
        (b"null\n", "line 1: got a JSON NoneType"),
        (_jsonl(ROWS) + b'{"question": "\xff"}\n', "line 3: byte 14 is not UTF-8"),
        ("{}".encode("utf-16"), "line 1: the file is UTF-16"),
        (_jsonl(ROWS) + b'{"score": NaN}\n', "line 3, field 'score': got nan"),
        (b'{"deep": {"er": [1, -Infinity]}}\n', "line 1, field 'deep'.*expected finite"),
        (b"[" * 200_000, "is not a JSON list of objects"),
        (b"[]", "contains no rows"),
        (b'{"a":' * 200_000, "line 1: not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "line 1: not JSON"),
        (b"PAR1 and nothing else", "not readable as Parquet"),
    ],
)
def test_a_malformed_file_is_an_error_with_the_line(tmp_path, content, match):
    path = _write(tmp_path, content)
    with pytest.raises(ValueError, match=match) as caught:
        _rows(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [5, 12, 0.5, -4])
def test_a_truncated_gzip_file_is_an_error(tmp_path, kept):
    packed = gzip.compress(_jsonl(ROWS * 500))
    cut = packed[: int(len(packed) * kept) if isinstance(kept, float) else kept]
    with pytest.raises(ValueError, match="damaged or truncated"):
        _rows(_write(tmp_path, cut))


def test_a_date_that_python_cannot_represent_is_an_error_with_the_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    times = pyarrow.array([2**40], pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table({"when": times}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"rows\.parquet: not readable as Parquet"):
        _rows(tmp_path / "rows.parquet")


def test_a_missing_file_is_an_error_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _rows(tmp_path / "nowhere.jsonl")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        _rows(tmp_path)
