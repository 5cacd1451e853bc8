"""An oracle for the fictional world: an agent with the best possible searches.

It uses only its observations. It misses an answer only if the turns run out, since it repeats every
search that returned a noisy page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from zs_env.world import Chain, Comparison, Intersection, parse_question
from zs_env.world.relations import PAGE_RELATIONS

_SENTENCE = re.compile(
    r"The ([a-z ]+) of (\w+ \w+) is (\w+(?: \w+)?)\.|(\w+ \w+) is the ([a-z ]+) of (\w+ \w+)\."
)
_PAGE = re.compile(r"</(search|open)>\n\n<information>\n(.*?)\n</information>\n", re.DOTALL)
_DOCUMENT = re.compile(r"Doc (\d+)(?: \(part (\d+) of (\d+)\))?: (.*)")
_ON_PAGES_ONLY = frozenset(relation.name for relation in PAGE_RELATIONS)


class Statement(NamedTuple):
    """A parsed sentence of the world."""

    relation: str
    subject: str
    object: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """A fact to search for: `name` is the subject, or the object if `inverse`."""

    relation: str
    name: str
    inverse: bool = False

    @property
    def query(self) -> str:
        """The query that finds the fact."""
        return f"{self.relation} {self.name}" if self.inverse else f"{self.relation} of {self.name}"

    def matches(self, statement: Statement) -> bool:
        """Whether the statement contains the fact."""
        known = statement.object if self.inverse else statement.subject
        return statement.relation == self.relation and known == self.name

    def read(self, statements: list[Statement]) -> list[str]:
        """Return the distinct values of the fact in the statements, in order."""
        matching = filter(self.matches, statements)
        return list(dict.fromkeys(s.subject if self.inverse else s.object for s in matching))


def read_statements(text: str) -> list[Statement]:
    """Return all sentences of the world in a text, in order."""
    return [
        Statement(match[1], match[2], match[3])
        if match[1]
        else Statement(match[5], match[6], match[4])
        for match in _SENTENCE.finditer(text)
    ]


class Plan:
    """The lookups of a question, and its answer so far.

    Args:
        question: about the world.

    Attributes:
        question: the parsed question.
        answer: set once it is known.
        guess: the best answer without another search; None without one.

    Raises:
        ValueError: if the question is not about the world.
    """

    def __init__(self, question: str) -> None:
        self.question = parse_question(question)
        self.answer: str | None = None
        self.guess: str | None = None

    def read(self, statements: list[Statement]) -> Lookup | None:
        """Use the facts found so far; return the next lookup, or None once the answer is known."""
        if isinstance(self.question, Chain):
            return self._follow(self.question, statements)
        if isinstance(self.question, Comparison):
            return self._compare(self.question, statements)
        return self._intersect(self.question, statements)

    def _follow(self, chain: Chain, statements: list[Statement]) -> Lookup | None:
        name = chain.start
        for relation in chain.relations:
            lookup = Lookup(relation, name)
            found = lookup.read(statements)
            if not found:
                return lookup
            name = found[0]
        self.answer = name
        return None

    def _compare(self, comparison: Comparison, statements: list[Statement]) -> Lookup | None:
        years: dict[str, int] = {}
        self.guess = comparison.names[0]
        for name in comparison.names:
            lookup = Lookup(comparison.relation, name)
            found = lookup.read(statements)
            if not found:
                return lookup
            years[name] = int(found[0])
        choose = min if comparison.earlier else max
        self.answer = choose(years, key=years.__getitem__)
        return None

    def _intersect(self, intersection: Intersection, statements: list[Statement]) -> Lookup | None:
        sides = [Lookup(relation, name, True) for relation, name in intersection.conditions]
        found = [side.read(statements) for side in sides]
        for side, names in zip(sides, found, strict=True):
            if not names:
                return side
            self.guess = names[0]
        common = [name for name in found[0] if name in found[1]]
        if not common:
            return sides[len(statements) % 2]
        self.answer = common[0]
        return None


def open_page(lookup: Lookup, transcript: str) -> str | None:
    """Return the open that may find a fact which stands only on the page of its subject.

    The documents of the last search that are about the subject are opened in turn, part by part.
    None for other facts, if no part is left, or if the last search found no such document.
    """
    if lookup.relation not in _ON_PAGES_ONLY:
        return None
    about: list[str] = []
    read: dict[str, int] = {}  # the last part of an opened document, without a complete one
    for kind, page in _PAGE.findall(transcript):
        documents = [match.groups() for match in _DOCUMENT.finditer(page)]
        if kind == "search":
            read = {}
            about = [
                number
                for number, _, _, text in documents
                if re.match(rf"(The [a-z ]+ of )?{lookup.name} is ", text)
            ]
        else:
            for number, part, num_parts, _ in documents:
                read[number] = 0 if part == num_parts else int(part)
    for number in about:
        part = read.get(number)
        if part is None:
            return f"<open>{number}</open>"
        if part:
            return f"<open>{number} p{part + 1}</open>"
    return None


class FollowTheHops:
    """Looks up one fact after the other, repeats searches with noisy pages, then answers.

    A fact that stands only on the page of its subject is looked up by opening that page.

    It keeps no state: every turn parses the question and the transcript of the observation.

    Args:
        max_turns: actions in an episode; the last one is an answer, if necessary a guess.
    """

    def __init__(self, max_turns: int = 6) -> None:
        self.max_turns = max_turns

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search, an open or an answer.

        Raises:
            ValueError: if the question is not about the fictional world.
        """
        plan, transcript = Plan(observation["question"]), observation["transcript"]
        lookup = plan.read(read_statements(transcript))
        turns_taken = transcript.count("\n</information>\n")
        if lookup is None or turns_taken + 1 >= self.max_turns:
            return f"<answer> {plan.answer or plan.guess or 'unknown'}</answer>"
        return open_page(lookup, transcript) or f"<search> {lookup.query}</search>"
