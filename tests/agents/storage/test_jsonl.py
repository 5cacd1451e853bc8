"""Lines are replaced atomically."""

import os

import pytest

from agents.storage.output_folder import replace_lines


def test_lines_are_replaced_by_number(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"zero\none\ntwo\n")
    replace_lines(path, {0: b"0\n", 2: b"and two\n"})
    assert path.read_bytes() == b"0\none\nand two\n"


def test_a_failed_write_leaves_the_file_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    path.write_bytes(b"zero\none\n")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_lines(path, {1: b"1\n"})
    assert path.read_bytes() == b"zero\none\n"
    assert list(tmp_path.iterdir()) == [path]
