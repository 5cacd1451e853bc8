"""A BM25 index on disk: posting lists, vocabulary and passages, all memory-mapped."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
    mapped,
    put_in_place,
    stored_fingerprint,
)
from zs_env.text.words import content_words

# Part of every fingerprint: increase it if the ranking of a corpus changes.
INDEX_VERSION = 2


@dataclass(frozen=True, slots=True)
class Postings:
    """For each word, the passages that contain it and its part of their BM25 scores.

    Attributes:
        vocabulary: word to word id.
        starts: [words + 1] the start of each word's postings.
        passages: [postings] passage numbers, ascending within a word.
        scores: [postings] contributions, float32, above 0.
    """

    vocabulary: Mapping[str, int]
    starts: npt.NDArray[np.int64]
    passages: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


def build_postings(
    passages: Iterable[Passage], *, k1: float, b: float, progress: Progress = False
) -> Postings:
    """Count and score the words of all passages, titles included."""
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
        raise ValueError("no passage contains a word; expected passages with a title or a text")
    index = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
    index.index((word_ids, vocabulary), create_empty_token=False, show_progress=progress is True)
    scores = index.scores
    return Postings(
        vocabulary,
        np.asarray(scores["indptr"], np.int64),
        np.asarray(scores["indices"], np.int32),
        np.asarray(scores["data"], np.float32),
    )


def open_index(
    corpus: Path, folder: Path, *, k1: float, b: float, progress: Progress = False
) -> tuple[Postings, StoredPassages, str]:
    """Open the index of a corpus file; build it first if it is missing or outdated.

    The index is written to another folder and renamed, so that an incomplete index is never used.

    Returns:
        Postings and passages, memory-mapped, and the index's fingerprint.

    Raises:
        FileNotFoundError: if the corpus file is missing.
        ValueError: if a line of it is not a passage, or the folder holds other files.
        OSError: if the folder cannot be written.
    """
    fingerprint = f"bm25-{INDEX_VERSION}:{k1}:{b}:{file_fingerprint(corpus)}"
    if stored_fingerprint(folder) != fingerprint:
        check_folder(folder)
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        create_partial(partial, folder)
        try:
            _write_index(corpus, partial, k1=k1, b=b, progress=progress)
            put_in_place(partial, folder, fingerprint)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    postings = Postings(
        {word: number for number, word in enumerate(vocabulary)},
        mapped(folder / "starts.npy"),
        mapped(folder / "postings.npy"),
        mapped(folder / "scores.npy"),
    )
    return postings, StoredPassages(folder), fingerprint


def _words(passage: Passage) -> list[str]:
    return content_words(f"{passage.title} {passage.text}")


def _write_index(corpus: Path, folder: Path, *, k1: float, b: float, progress: Progress) -> None:
    passages = copy_passages(corpus, folder, progress=progress)
    postings = build_postings(passages, k1=k1, b=b, progress=progress)
    np.save(folder / "starts.npy", postings.starts)
    np.save(folder / "postings.npy", postings.passages)
    np.save(folder / "scores.npy", postings.scores)
    (folder / "vocabulary.json").write_text(json.dumps([*postings.vocabulary]), "utf-8")
