"""A teacher for the questions of a fictional world, which makes errors in searching.

The teacher reads pages without errors. Errors in searching and answering are sampled at each
decision and are far more likely than the correct decision; with `NO_ERRORS` there are none. A
policy trained on both makes the errors under greedy decoding, and sampling sometimes finds the
correct decisions. RL improves on this.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agents.baselines.world_oracle import Lookup, Plan, Statement, open_page, read_statements
from agents.llm.sft.teacher import Teacher
from zs_env.episode import Episode
from zs_env.questions.question import Question
from zs_env.world import Comparison, Intersection


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherErrors:
    """Probability in [0, 1] of each error of the teacher, whenever it is possible.

    Attributes:
        vague_query: the query is a name without the relation that is looked up.
        early_answer: the answer is the first fact found, although more must be looked up; a teacher
            that does not make this error once does not make it later in the episode.
        hasty_guess: the answer is another name on a page that lacks what was looked up.
    """

    vague_query: float = 0.9
    early_answer: float = 0.88
    hasty_guess: float = 0.85


# The first words of the conclusion of a comparison and of an intersection.
_SO, _BOTH = " So earlier", " Both have"
NO_ERRORS = TeacherErrors(vague_query=0.0, early_answer=0.0, hasty_guess=0.0)


def fact_prefix(lookup: Lookup) -> str:
    """Return the sentence about a lookup up to the name that was found."""
    if lookup.inverse:
        return f" {lookup.name} is the {lookup.relation} of"
    return f" The {lookup.relation} of {lookup.name} is"


def state(lookup: Lookup, found: Sequence[str]) -> str:
    """Return what a page states about a lookup, in the words of the page."""
    if not found:
        return f"{fact_prefix(lookup)} {'nothing' if lookup.inverse else 'not there'}."
    names = found if lookup.inverse else found[:1]
    return "".join(f"{fact_prefix(lookup)} {name}." for name in names)


def conclude(plan: Plan) -> str:
    """Return the conclusion from which the answer follows, and the answer.

    A comparison states the order of the years first and then which of them was asked for. A single
    step would be learned late or never, because neither year alone predicts the answer.
    """
    question, conclusion = plan.question, ""
    if isinstance(question, Comparison):
        asked = "earlier" if question.earlier else "later"
        places = ["first", "second"]
        if (plan.answer == question.names[0]) != question.earlier:
            places.reverse()
        which = places[0 if question.earlier else 1]
        conclusion = (
            f"{_SO} is the {places[0]}, later is the {places[1]}, and {asked} is the {which}."
        )
    elif isinstance(question, Intersection):
        conclusion = f"{_BOTH} {plan.answer}."
    return f"{conclusion}{_done(plan.answer or '')}"


def has_conclusion(turn: str) -> bool:
    """Whether a turn contains a conclusion about two things."""
    return _SO in turn or _BOTH in turn


def _done(answer: str) -> str:
    return f" Done.</think><answer> {answer}</answer>"


class WorldTeacher(Teacher):
    """States what it read and decides what to look up.

    If the agent can open documents, it opens pages as the oracle does.

    Args:
        question: a question of a fictional world, whose engine must answer the searches.
        errors: probabilities of the teacher's errors.
        rng: random source of the errors and of the episode's seed.
    """

    def __init__(self, question: Question, errors: TeacherErrors, rng: random.Random) -> None:
        super().__init__(question, rng)
        self.plan, self.errors = Plan(question.text), errors
        self.statements: list[Statement] = []
        self.lookup: Lookup | None = None

    def act(self, episode: Episode) -> str:
        last = len(episode.turns) + 1 >= episode.config.max_turns
        before, page = self.lookup, []
        if before is not None:
            page = read_statements(episode.message)
        knew_something = bool(self.statements)
        # Statements about other things are not used, because the turn does not mention them.
        found = [] if before is None else [s for s in page if before.matches(s)]
        self.statements += found
        self.lookup = self.plan.read(self.statements)
        thought = "" if before is None else state(before, before.read(found))
        if self.lookup is None:
            return f"<think>{thought}{conclude(self.plan)}"
        if before is not None and (last or self._goes_wrong(found, knew_something)):
            names = before.read(found) or [statement.object for statement in page] or ["unknown"]
            return f"<think>{thought}{_done(self._guess(names))}"
        opened = open_page(self.lookup, episode.text) if "open" in episode.config.tools else None
        if opened is not None:
            return f"<think>{thought} Open its page.</think>{opened}"
        step = " First" if before is None else (" Next" if found else " Again")
        vague = self.rng.random() < self.errors.vague_query
        query = self.lookup.name if vague else self.lookup.query
        return (
            f"<think>{thought}{step} the {self.lookup.relation}.</think><search> {query}</search>"
        )

    def _goes_wrong(self, found: list[Statement], knew_something: bool) -> bool:
        if not found:
            return self.rng.random() < self.errors.hasty_guess
        return not knew_something and self.rng.random() < self.errors.early_answer

    def _guess(self, names: list[str]) -> str:
        question = self.plan.question
        return self.rng.choice(question.names if isinstance(question, Comparison) else names)
