"""Published scores, to stand beside ours: of other questions, another engine and one run each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """One row of a published table.

    Attributes:
        model: the policy's base model.
        method: as the paper calls it.
        bamboogle_questions: of 125, those that its Bamboogle score counts.
        scores: percent, by name of the question set.
    """

    model: str
    method: str
    bamboogle_questions: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A selection of a published table.

    Attributes:
        source: where it was published.
        metric: what its scores are, by our name.
        caveat: why they are not to be compared closely.
        rows: in the order of the paper.
    """

    source: str
    metric: str
    caveat: str
    rows: Sequence[PublishedScore]


def load_published() -> Published:
    """Return the original's main table, without the rows of Llama and of a few baselines."""
    value = json.loads(
        files("agents.studies.benchmark").joinpath("published.json").read_text("utf-8")
    )
    rows = tuple(PublishedScore(**row) for row in value.pop("rows"))
    return Published(rows=rows, **value)
