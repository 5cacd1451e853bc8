"""The seven question sets of the paper, by name, from the hub or from a file; and sets of your own.

Source: ZeroSearch (arXiv:2505.04588), section 4: 500 questions of each of six sets and the 125 of
Bamboogle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.specs import spec_from_text
from zs_env.text.suggestions import unknown_name

# In the paper's order, with what its tables call them.
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
AVERAGE = "average"  # stands where a set's name stands, for the mean over all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """A set that agents are played on.

    Attributes:
        name: what it is called in files.
        spec: of its questions.
    """

    name: str
    spec: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What tables call it."""
        return PAPER_SETS.get(self.name, self.name)


def question_sets(texts: Sequence[str]) -> list[QuestionSet]:
    """Read NAME, which is one of `PAPER_SETS` from the hub, or NAME=FILE, or NAME=JSON spec.

    Raises:
        ValueError: if a name is unknown or given twice, or a spec is none.
    """
    sets = [_question_set(text) for text in texts]
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the set {name!r} is named twice in --sets; name each once")
    if not sets:
        raise ValueError(f"--sets names no set; expected some of {list(PAPER_SETS)}, or NAME=FILE")
    return sets


def _question_set(text: str) -> QuestionSet:
    name, is_given, where = text.partition("=")
    if name == AVERAGE:
        raise ValueError(f"--sets got {text!r}; {AVERAGE!r} stands for the mean over the sets")
    if is_given:
        if not name.isidentifier() and name not in PAPER_SETS:
            raise ValueError(
                f"--sets got {text!r}; expected NAME=FILE with a name of letters, digits and _"
            )
        return QuestionSet(name=name, spec=spec_from_text(where, role="questions", flag="sets"))
    if name not in PAPER_SETS:
        raise unknown_name("question set", name, PAPER_SETS)
    return QuestionSet(name=name, spec={"kind": "hub", "name": name})
