"""An unlimited number of questions about a fictional world, which can be answered by searching.

The structure of a question is a chain of 1 to 3 relations, a comparison of two entities by a year,
or an intersection of two conditions that only one entity fulfils. The last relation of a "page"
question, a chain of 1 or 2 relations, stands only on the page of an entity.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from zs_env.metrics import contains_answer
from zs_env.questions.question import Question
from zs_env.world.relations import INTERSECTIONS, PAGE_RELATIONS, RELATIONS
from zs_env.world.world import Entity, Fact, World

STRUCTURES: tuple[str, ...] = ("chain1", "chain2", "chain3", "comparison", "intersection")
# These need the tool "open".
PAGE_STRUCTURES: tuple[str, ...] = ("page1", "page2")
# Default share of each structure: three quarters of the questions need two or more facts.
DEFAULT_MIX: Mapping[str, float] = {
    "chain1": 0.25,
    "chain2": 0.3,
    "chain3": 0.1,
    "comparison": 0.2,
    "intersection": 0.15,
}
_MAX_MATCHES = 2  # facts per condition of an intersection, so that they fit on one page
_YEAR_RELATIONS = tuple(relation for relation in RELATIONS if relation.object == "year")


class WorldQuestions(Sequence[Question]):
    """A seeded sequence of 2**31 questions about one world; item i is always the same.

    Args:
        world: the world.
        structures: share of each structure (the sum need not be 1), or names of structures with
            equal shares; None for `DEFAULT_MIX`.
        seed: determines the questions.
    """

    def __init__(
        self,
        world: World,
        structures: Mapping[str, float] | Sequence[str] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if structures is None:
            structures = DEFAULT_MIX
        shares = (
            dict(structures) if isinstance(structures, Mapping) else dict.fromkeys(structures, 1.0)
        )
        known = (*STRUCTURES, *PAGE_STRUCTURES)
        unknown = sorted(set(shares) - set(known))
        if unknown or not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError(
                f"got structures {structures!r}, expected shares of {known} that are at least 0 "
                "and not all 0"
            )
        self.world, self.shares, self.seed = world, shares, seed

    def __len__(self) -> int:
        return 2**31

    @overload
    def __getitem__(self, index: int) -> Question: ...

    @overload
    def __getitem__(self, index: slice) -> list[Question]: ...

    def __getitem__(self, index: int | slice) -> Question | list[Question]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        world = self.world
        rng = random.Random(f"question {world.seed} {world.split} {self.seed} {index}")
        structure = rng.choices(list(self.shares), list(self.shares.values()))[0]
        if structure == "comparison":
            text, answer = self._comparison(rng)
        elif structure == "intersection":
            text, answer = self._intersection(rng)
        elif structure in PAGE_STRUCTURES:
            text, answer = self._page_chain(rng, hops=int(structure[-1]))
        else:
            text, answer = self._chain(rng, hops=int(structure[-1]))
        hops = int(structure[-1]) if structure[-1].isdecimal() else 2
        # The name that a comparison uses comes first, see `zs_env.questions.hidden_answers`.
        answers = sorted(answer.names, key=lambda name: not contains_answer(text, name))
        return Question(
            id=f"world-{world.split}-{world.seed}-{self.seed}-{index}",
            text=text,
            answers=tuple(answers),
            source="world",
            metadata={"structure": structure, "hops": hops},
        )

    def _chain(self, rng: random.Random, hops: int) -> tuple[str, Entity]:
        while True:
            facts = [rng.choice(self.world.facts)]
            while len(facts) < hops:
                onward = self.world.facts_about.get(facts[-1].object)
                if not onward:
                    break
                facts.append(rng.choice(onward))
            if len(facts) == hops and _visits_no_entity_twice(facts):
                return _chain_text(facts, rng)

    def _page_chain(self, rng: random.Random, hops: int) -> tuple[str, Entity]:
        while True:
            facts = [rng.choice(self.world.page_facts)]
            before = self.world.facts_naming.get(facts[0].subject)
            if hops == 2 and before:
                facts.insert(0, rng.choice(before))
            if len(facts) == hops and _visits_no_entity_twice(facts):
                return _chain_text(facts, rng)

    def _comparison(self, rng: random.Random) -> tuple[str, Entity]:
        relation = rng.choice(_YEAR_RELATIONS)
        facts = self.world.facts_of[relation.name]
        while True:
            one, other = rng.sample(facts, 2)
            if one.object.name != other.object.name:
                break
        earliest = min(one, other, key=lambda fact: int(fact.object.name))
        word = rng.choice(("earlier", "later"))
        answer = earliest if word == "earlier" else (other if earliest is one else one)
        names = f"{rng.choice(one.subject.names)} or {rng.choice(other.subject.names)}"
        return f"Which has the {word} {relation.name}, {names}?", answer.subject

    def _intersection(self, rng: random.Random) -> tuple[str, Entity]:
        one, other = rng.choice(self._crossings)
        kind = one.subject.kind
        # Sentences use the name of an object, not its alias, so a condition does too.
        first = f"the {one.relation.name} {one.object.name}"
        second = f"the {other.relation.name} {other.object.name}"
        return f"Which {kind} has {first} and {second}?", one.subject

    @cached_property
    def _crossings(self) -> list[tuple[Fact, Fact]]:
        """Pairs of facts about one subject that have no other subject in common."""
        sides = {
            name: {
                obj: {fact.subject: fact for fact in self.world.facts_naming[obj]
                      if fact.relation.name == name}
                for obj in {fact.object for fact in self.world.facts_of[name]}
            }
            for pair in INTERSECTIONS
            for name in pair
        }  # fmt: skip
        crossings = []
        for one, other in INTERSECTIONS:
            objects = {fact.subject: fact.object for fact in self.world.facts_of[other]}
            for fact in self.world.facts_of[one]:
                if fact.subject not in objects:
                    continue
                these, those = sides[one][fact.object], sides[other][objects[fact.subject]]
                if (
                    max(len(these), len(those)) > _MAX_MATCHES
                    or len(these.keys() & those.keys()) > 1
                ):
                    continue
                crossings.append((fact, those[fact.subject]))
        return crossings


def _visits_no_entity_twice(facts: Sequence[Fact]) -> bool:
    visited = [facts[0].subject, *(fact.object for fact in facts)]
    return len(set(visited)) == len(visited)


def _chain_text(facts: Sequence[Fact], rng: random.Random) -> tuple[str, Entity]:
    """Return the question for the end of a chain of facts, and its answer."""
    answer = facts[-1].object
    described = rng.choice(facts[0].subject.names)
    for fact in facts:
        described = f"the {fact.relation.name} of {described}"
    return f"{'Who' if answer.kind == 'person' else 'What'} is {described}?", answer


@dataclass(frozen=True, slots=True)
class Chain:
    """A question for the end of a chain of relations that begins at the entity `start`."""

    start: str
    relations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A question for the name with the earlier (or later) year of a relation."""

    relation: str
    earlier: bool
    names: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Intersection:
    """A question for the subject that fulfils two (relation, name of object) conditions."""

    conditions: tuple[tuple[str, str], tuple[str, str]]


_NAMES = {relation.name for relation in (*RELATIONS, *PAGE_RELATIONS)}
_RELATION_NAMES = "|".join(sorted(_NAMES, key=len, reverse=True))
_CHAIN_STEP = re.compile(rf"the ({_RELATION_NAMES}) of ")
_COMPARISON = re.compile(rf"Which has the (earlier|later) ({_RELATION_NAMES}), (.+) or (.+)\?")
_CONDITION = rf"the ({_RELATION_NAMES}) (\w+ \w+)"
_INTERSECTION = re.compile(rf"Which \w+ has {_CONDITION} and {_CONDITION}\?")


def parse_question(text: str) -> Chain | Comparison | Intersection:
    """Parse the text of a world question.

    Raises:
        ValueError: if the text is not a question of a fictional world.
    """
    if match := _COMPARISON.fullmatch(text):
        return Comparison(match[2], match[1] == "earlier", (match[3], match[4]))
    if match := _INTERSECTION.fullmatch(text):
        return Intersection(((match[1], match[2]), (match[3], match[4])))
    steps = list(_CHAIN_STEP.finditer(text))
    if not steps or not re.match(r"(Who|What) is the ", text) or not text.endswith("?"):
        raise ValueError(f"got {text!r}, expected a question about a fictional world")
    start = text[steps[-1].end() : -1]
    return Chain(start, tuple(step[1] for step in reversed(steps)))
