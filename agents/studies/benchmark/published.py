"""Published scores to show beside ours: other questions, another engine, one run each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A selection of rows of a published table.

    Attributes:
        source: the publication.
        metric: our name of its metric.
        caveat: differences that limit the comparison.
        rows: in the order of the paper, each with `model`, `method`, `scores` in percent by
            question set, and `bamboogle_questions`: how many of Bamboogle's 125 questions count.
    """

    source: str
    metric: str
    caveat: str
    rows: Sequence[Mapping[str, Any]]


def load_published() -> Published:
    """Return the original's main table, without Llama and a few baselines."""
    text = files("agents.studies.benchmark").joinpath("published.json").read_text("utf-8")
    return Published(**json.loads(text))
