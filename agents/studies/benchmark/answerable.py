"""Scores of a benchmark on the questions that a corpus can answer, by `zerosearch audit`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.evaluation.progress import ProgressBar
from agents.specs import rewritten, spec_from_text
from agents.studies.audit.audit import FIGURES_FILE, ROWS_FILE, Audit, audit_sets
from agents.studies.audit.html import PAGE_FILE, write_page
from agents.studies.benchmark.config import AVERAGE, BenchmarkConfig
from agents.studies.benchmark.sample import Sample
from agents.studies.benchmark.scores import Result, Score, score_all
from zs_env.config import build_questions
from zs_env.engines import BM25Engine
from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.questions import questions_by_id
from zs_env.questions.question import Question
from zs_env.questions.rows import read_rows
from zs_env.text.paths import local_path

OWN_ENGINE = "engine"  # in place of a folder: the passage file of the benchmark's engine

# Whether a question is answerable, None if unknown, by the name of its set and its id.
Answerable = Mapping[tuple[str, str], bool | None]


@dataclass(frozen=True, slots=True)
class AnswerableShare:
    """How many of the questions asked are answerable; the others are not, or unknown."""

    answerable: int
    unknown: int
    asked: int

    @property
    def share(self) -> float | None:
        """Share of the questions that are not unknown, in [0, 1]; None without any."""
        known = self.asked - self.unknown
        return self.answerable / known if known else None


@dataclass(frozen=True)
class AnswerablePart:
    """Scores on the answerable questions only.

    Attributes:
        shares: by the name of the set.
        scores: of each agent on each set and on average; sets without an answerable question are
            left out.
    """

    shares: Mapping[str, AnswerableShare]
    scores: Sequence[Score]

    @classmethod
    def of(cls, results: Sequence[Result], answerable: Answerable) -> AnswerablePart:
        """Score the results of the answerable questions."""
        values: dict[str, list[bool | None]] = {}
        for (name, _), value in answerable.items():
            values.setdefault(name, []).append(value)
        shares = {
            name: AnswerableShare(some.count(True), some.count(None), len(some))
            for name, some in values.items()
        }
        part = [one for one in results if answerable[one.set, one.question_id]]
        return cls(shares, score_all(part))

    def mean_share(self, name: str) -> float | None:
        """Return the share of a set, or for `AVERAGE` the mean share over the sets."""
        if name != AVERAGE:
            return self.shares[name].share
        shares = [one.share for one in self.shares.values() if one.share is not None]
        return sum(shares) / len(shares) if shares else None

    def to_json(self) -> dict[str, Any]:
        """Return shares and scores as JSON values."""
        shares = {name: {**asdict(one), "share": one.share} for name, one in self.shares.items()}
        return {"shares": shares, "scores": [asdict(score) for score in self.scores]}


def find_answerable(
    config: BenchmarkConfig,
    sets: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Sample],
    output: Path,
    console: Console,
) -> Answerable | None:
    """Return which of the questions asked are answerable; None if the settings name no audit.

    An audit of the engine's own passage file is written into the folder `audit` of the output.

    Raises:
        FileNotFoundError: if there is no audit at the given path.
        ValueError: if the audit is of another passage file than the engine's, it lacks a question,
            or the engine has no passage file of its own.
    """
    if config.audit is None:
        return None
    asked = {
        name: questions_by_id(build_questions(spec), samples[name].ids)
        for name, spec in sets.items()
    }
    spec = _passage_spec(config.engine)
    if config.audit != OWN_ENGINE:
        return _read(local_path(config.audit), asked, spec)
    if spec is None:
        raise ValueError(
            f"--audit {OWN_ENGINE} needs an engine with one passage file, got {config.engine!r}; "
            "pass the folder of `zerosearch audit` instead"
        )
    audit = _audit_engine(spec, asked, console)
    (output / "audit").mkdir(parents=True, exist_ok=True)
    audit.write(output / "audit")
    write_page(audit, output / "audit" / PAGE_FILE)
    return {(row.set, row.id): row.answerable for row in audit.rows}


def _audit_engine(
    spec: Mapping[str, Any], asked: Mapping[str, Sequence[Question]], console: Console
) -> Audit:
    passages = local_path(spec["passages"])
    index = spec.get("index") if spec["kind"] in ("bm25", "corpus") else None
    with ProgressBar(console, "audit") as bar:
        engine = BM25Engine(passages, index, progress=bar.count)
        return audit_sets(asked, passages, engine, on_progress=bar.count)


def _passage_spec(engine: str) -> Mapping[str, Any] | None:
    """Return the only spec with a passage file in that of an engine, which may be nested."""
    found: dict[str, Mapping[str, Any]] = {}

    def collect(spec: Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(spec.get("passages"), str):
            found.setdefault(spec["passages"], spec)
        return spec

    rewritten(spec_from_text(engine, role="engine"), collect)
    return next(iter(found.values())) if len(found) == 1 else None


def _read(
    folder: Path, asked: Mapping[str, Sequence[Question]], spec: Mapping[str, Any] | None
) -> Answerable:
    if not (folder / FIGURES_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {FIGURES_FILE}; pass the --output folder of `zerosearch audit`, or "
            f'"{OWN_ENGINE}"'
        )
    fingerprint = json.loads((folder / FIGURES_FILE).read_text("utf-8")).get("fingerprint")
    if spec is not None and fingerprint != file_fingerprint(local_path(spec["passages"])):
        raise ValueError(
            f"{folder} is an audit of other passages than {spec['passages']}, the engine's; audit "
            f"that file, or pass --audit {OWN_ENGINE}"
        )
    # The same question may have another id, or its set another name, in another file.
    audited = {
        (row["question"], frozenset(row["answers"])): row["answerable"]
        for _, row in read_rows(folder / ROWS_FILE)
    }
    answerable = {}
    for name, questions in asked.items():
        for question in questions:
            key = question.text, frozenset(question.answers)
            if key not in audited:
                raise ValueError(
                    f"{folder} does not contain question {question.id!r} of the set {name!r} with "
                    "these gold answers; audit the files of all sets, or pass "
                    f"--audit {OWN_ENGINE}"
                )
            answerable[name, question.id] = audited[key]
    return answerable
