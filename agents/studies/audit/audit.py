"""The audit of question sets against a passage file: one row a question, and figures a set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agents.storage.output_folder import atomic_path
from agents.studies.audit.answers import ISSUES, answer_frequency, find_issues, passages_with
from agents.studies.audit.repetitions import find_repetitions
from agents.studies.audit.retrieval import retrieve_all
from zs_env.engines import BM25Engine
from zs_env.engines.retrieval.passage_file import Passage, file_fingerprint
from zs_env.questions.question import Question
from zs_env.questions.rows import write_rows

FIGURES_FILE, ROWS_FILE = "audit.json", "questions.jsonl"
NUM_RANDOM_PASSAGES = 10_000
SHOWN_RANKS = (1, 5, 20, 100)

# Called with the unit, the count and the total.
OnProgress = Callable[[str, int, int | None], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedQuestion:
    """What the audit found about one question.

    Attributes:
        set: name of its question set.
        answerable: whether the corpus can answer it, see `Retrieval.answerable`; None if unknown.
        rank: see `Retrieval`, as are `title_rank`, `titles` and `titles_found`.
        chance: probability that `top_k` random passages contain a gold answer; None for yes/no
            questions.
        issues: names in `ISSUES`.
        repeats: see `Repetition`, as are `exact`, `conflicting` and `also_in`.
    """

    set: str
    id: str
    question: str
    answers: tuple[str, ...]
    answerable: bool | None
    rank: int | None
    title_rank: int | None
    titles: int
    titles_found: int
    chance: float | None
    issues: tuple[str, ...]
    repeats: str
    exact: bool
    conflicting: bool
    also_in: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """All questions of an audit, with their passage file.

    Attributes:
        passages: path of the passage file.
        fingerprint: of its content, see `file_fingerprint`.
        num_passages: number of passages.
        top_k: passages that each search returned.
        sets: names of the audited sets.
        against: names of the sets that they were only compared with.
        rows: the questions of all audited sets.
    """

    passages: str
    fingerprint: str
    num_passages: int
    top_k: int
    sets: tuple[str, ...]
    against: tuple[str, ...]
    rows: tuple[AuditedQuestion, ...]

    @cached_property
    def figures(self) -> list[dict[str, Any]]:
        """The figures of each set as JSON values; shares are in [0, 1] and None without questions.

        Keys: `set`, `questions`, `found` (by rank, the share of the questions of `checked` whose
        search finds an answer at that rank or better), `checked` (number of questions that are not
        yes/no), `with_titles` and `found_by_title` (of the questions with gold titles), `unknown`
        (number of questions whose `answerable` is None), `answerable` (share of the others),
        `chance` (mean), `issues` (number of questions by kind), `repeated`, `repeated_exactly`,
        `conflicting` (numbers of questions) and `also_in` (number of questions by other set).
        """
        return [
            _figures(name, [row for row in self.rows if row.set == name], self)
            for name in self.sets
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single questions as JSON values."""
        fields = {name: value for name, value in vars(self).items() if name not in _NOT_JSON}
        return {**fields, "issues": ISSUES, "figures": self.figures}

    def write(self, folder: Path) -> None:
        """Write the figures and one row a question into a folder."""
        write_rows(folder / ROWS_FILE, self.rows)
        with atomic_path(folder / FIGURES_FILE) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


_NOT_JSON = ("rows", "figures")


def audit_sets(
    sets: Mapping[str, Sequence[Question]],
    passages: Path,
    engine: BM25Engine,
    *,
    top_k: int = 20,
    against: Mapping[str, Sequence[Question]] | None = None,
    on_progress: OnProgress = lambda unit, done, total: None,
) -> Audit:
    """Audit question sets.

    Args:
        sets: questions by the name of their set.
        passages: path of the passage file.
        engine: of that file.
        top_k: passages of a search, at least 1.
        against: further sets with which questions are compared, such as training questions.
        on_progress: called with the unit, the count and the total.

    Raises:
        ValueError: if there is no set, a name is in both `sets` and `against`, or `top_k` is
            below 1.
    """
    if not sets:
        raise ValueError("an audit needs at least one question set, got none")
    against = against or {}
    if both := sorted(sets.keys() & against.keys()):
        raise ValueError(
            f"got the set {both[0]!r} twice, among the audited sets and among those to compare "
            "with; give one of them another name, as in NAME=FILE"
        )
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    on_progress("random passages", 0, None)
    sample = _random_passages(engine.passages)
    found = passages_with((a for some in sets.values() for q in some for a in q.answers), sample)
    total, done = sum(map(len, sets.values())), 0
    rows: list[AuditedQuestion] = []
    for name, questions in sets.items():
        others = {other: some for other, some in {**sets, **against}.items() if other != name}
        retrievals = retrieve_all(
            questions,
            engine,
            top_k=top_k,
            on_progress=lambda count, done=done: on_progress("questions", done + count, total),
        )
        repetitions = find_repetitions(questions, others)
        for question, retrieval, repetition in zip(questions, retrievals, repetitions, strict=True):
            frequency = answer_frequency(question.answers, found, len(sample))
            rows.append(
                AuditedQuestion(
                    set=name,
                    id=question.id,
                    question=question.text,
                    answers=question.answers,
                    answerable=retrieval.answerable,
                    rank=retrieval.rank,
                    title_rank=retrieval.title_rank,
                    titles=retrieval.titles,
                    titles_found=retrieval.titles_found,
                    chance=None if retrieval.is_yes_no else 1 - (1 - frequency) ** top_k,
                    issues=find_issues(question, frequency=frequency),
                    **asdict(repetition),
                )
            )
        done += len(questions)
    return Audit(
        passages=str(passages),
        fingerprint=file_fingerprint(passages),
        num_passages=len(engine.passages),
        top_k=top_k,
        sets=tuple(sets),
        against=tuple(against),
        rows=tuple(rows),
    )


def _random_passages(passages: Sequence[Passage]) -> list[Passage]:
    size = min(len(passages), NUM_RANDOM_PASSAGES)
    numbers = np.random.default_rng(0).choice(len(passages), size, replace=False)
    return [passages[number] for number in numbers.tolist()]


def _figures(name: str, rows: Sequence[AuditedQuestion], audit: Audit) -> dict[str, Any]:
    checked = [row for row in rows if row.chance is not None]
    titled = [row for row in checked if row.titles]
    known = [row for row in rows if row.answerable is not None]
    issues = Counter(issue for row in rows for issue in row.issues)
    others = Counter(other for row in rows for other in row.also_in)
    ranks = [rank for rank in SHOWN_RANKS if rank < audit.top_k] + [audit.top_k]
    return {
        "set": name,
        "questions": len(rows),
        "checked": len(checked),
        "found": {
            str(rank): _mean([row.rank is not None and row.rank <= rank for row in checked])
            for rank in ranks
        },
        "with_titles": len(titled),
        "found_by_title": _mean([row.title_rank is not None for row in titled]),
        "unknown": len(rows) - len(known),
        "answerable": _mean([bool(row.answerable) for row in known]),
        "chance": _mean([row.chance for row in checked if row.chance is not None]),
        "issues": {issue: issues[issue] for issue in ISSUES},
        "repeated": sum(bool(row.repeats) for row in rows),
        "repeated_exactly": sum(row.exact for row in rows),
        "conflicting": sum(row.conflicting for row in rows),
        "also_in": {
            other: others[other] for other in (*audit.sets, *audit.against) if other != name
        },
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
