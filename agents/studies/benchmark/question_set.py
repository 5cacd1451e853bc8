"""The question sets of a benchmark: the seven of the paper, by name, and your own.

Source: ZeroSearch (arXiv:2505.04588), section 4: 500 questions of each of six sets and the 125 of
Bamboogle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.specs import spec_from_text
from zs_env.text.suggestions import unknown_name

# Labels in the paper's tables, in the paper's order.
PAPER_SETS: dict[str, str] = {
    "nq": "NQ",
    "triviaqa": "TriviaQA",
    "popqa": "PopQA",
    "hotpotqa": "HotpotQA",
    "2wikimultihopqa": "2Wiki",
    "musique": "MuSiQue",
    "bamboogle": "Bamboogle",
}
PAPER_SIZE = 500
AVERAGE = "average"  # in place of a set's name: the mean over all sets


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """A question set.

    Attributes:
        name: its name in files.
        spec: of its questions.
    """

    name: str
    spec: Mapping[str, Any]


def question_sets(texts: Sequence[str]) -> list[QuestionSet]:
    """Read NAME, one of `PAPER_SETS` from the hub, or NAME=FILE, or NAME=JSON spec.

    Raises:
        ValueError: if a name is unknown or given twice, or a spec is invalid.
    """
    sets = [_question_set(text) for text in texts]
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--sets contains the set {name!r} twice; name each set once")
    if not sets:
        raise ValueError(f"--sets is empty; expected some of {list(PAPER_SETS)}, or NAME=FILE")
    return sets


def _question_set(text: str) -> QuestionSet:
    name, has_spec, spec = text.partition("=")
    if name == AVERAGE:
        raise ValueError(f"--sets got {text!r}; {AVERAGE!r} is reserved for the mean over the sets")
    if has_spec:
        if not name.isidentifier() and name not in PAPER_SETS:
            raise ValueError(
                f"--sets got {text!r}; expected NAME=FILE with a name of letters, digits and _"
            )
        return QuestionSet(name=name, spec=spec_from_text(spec, role="questions", flag="sets"))
    if name not in PAPER_SETS:
        raise unknown_name("question set", name, PAPER_SETS)
    return QuestionSet(name=name, spec={"kind": "hub", "name": name})
