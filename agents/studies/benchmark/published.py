"""Published scores to show beside ours: other questions, another engine, one run each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """One row of a published table.

    Attributes:
        model: base model of the policy.
        method: its name in the paper.
        bamboogle_questions: number of the 125 questions that its Bamboogle score counts.
        scores: percent, by name of the question set.
    """

    model: str
    method: str
    bamboogle_questions: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A selection of rows of a published table.

    Attributes:
        source: the publication.
        metric: our name of its metric.
        caveat: differences that limit the comparison.
        rows: in the order of the paper.
    """

    source: str
    metric: str
    caveat: str
    rows: Sequence[PublishedScore]


def load_published() -> Published:
    """Return the original's main table, without Llama and a few baselines."""
    text = files("agents.studies.benchmark").joinpath("published.json").read_text("utf-8")
    value = json.loads(text)
    rows = tuple(PublishedScore(**row) for row in value.pop("rows"))
    return Published(rows=rows, **value)
