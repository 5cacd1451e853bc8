"""What may be done next: queries made from the question and from names read, and names to answer.

An action is the number of an offer. Queries come first, the question as it stands before all
others, then the answers; places that nothing fills stay empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from agents.sb3.notes import Note, Notes
from zs_env.text.sanitize import sanitize

_MAX_QUERY_CHARS = 1024
# Strain of a name that nothing joins to the question, and of a phrase that is behind it already.
_UNJOINED = 4
_PAIR_RANK = itemgetter(0, 1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferLimits:
    """How much is offered; a trained agent needs the numbers that it was trained with.

    Attributes:
        max_turns: actions an episode may take; as the last one no query is offered.
        num_queries: most queries, the question included.
        num_answers: most answers.
    """

    max_turns: int = 6
    num_queries: int = 10
    num_answers: int = 8

    def __post_init__(self) -> None:
        for name in ("max_turns", "num_queries", "num_answers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def num_offers(self) -> int:
        """Actions there are."""
        return self.num_queries + self.num_answers


@dataclass(frozen=True, slots=True)
class Query:
    """A search that may be made.

    Attributes:
        text: what is searched for.
        phrase: number of the phrase in it; None for the question as it stands.
        note: on the name in it; None for the question as it stands.
        strain: of the name, and phrases between the name's place and the phrase.
    """

    text: str
    phrase: int | None = None
    note: Note | None = None
    strain: int = 0

    @property
    def action(self) -> str:
        """The agent's text."""
        return f"<search>{self.text}</search>"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name that may be answered."""

    note: Note

    @property
    def action(self) -> str:
        """The agent's text."""
        return f"<answer>{self.note.name}</answer>"


@dataclass(frozen=True, slots=True)
class Offers:
    """What may be done at one turn.

    Attributes:
        notes: from which they were made.
        turns_left: actions that may still be taken, this one included.
        queries: at most `OfferLimits.num_queries`; none at the last turn.
        candidates: at most `OfferLimits.num_answers`.
        limits: how much is offered.
    """

    notes: Notes
    turns_left: int
    queries: Sequence[Query]
    candidates: Sequence[Candidate]
    limits: OfferLimits

    def action(self, number: int) -> str:
        """Return the text of an offer; an empty place stands for the question, searched."""
        first_answer = self.limits.num_queries
        if number < first_answer:
            offers: Sequence[Query | Candidate] = self.queries
        else:
            offers, number = self.candidates, number - first_answer
        if number < len(offers):
            return offers[number].action
        return _question_itself(self.notes).action


def make_offers(notes: Notes, limits: OfferLimits) -> Offers:
    """Choose what is offered after all that was read."""
    turns_left = limits.max_turns - notes.num_pages
    queries = [_question_itself(notes), *islice(_queries(notes), limits.num_queries - 1)]
    ranked = sorted(notes.names.values(), key=_answer_rank)
    return Offers(
        notes=notes,
        turns_left=turns_left,
        queries=queries[: limits.num_queries] if turns_left > 1 else (),
        candidates=[Candidate(note) for note in ranked[: limits.num_answers]],
        limits=limits,
    )


def _question_itself(notes: Notes) -> Query:
    return Query(sanitize(notes.asked.text)[:_MAX_QUERY_CHARS])


def _queries(notes: Notes) -> Iterator[Query]:
    """Yield a phrase with a name, those first that follow the question most closely."""
    pairs = [
        (_strain(note, phrase), -note.documents, number, phrase, note)
        for number, note in enumerate(notes.names.values())
        if not note.name.isdigit()
        for phrase in notes.asked.phrases
    ]
    pairs.sort(key=_PAIR_RANK)
    texts: set[str] = set()
    for strain, _, _, phrase, note in pairs:
        text = f"{notes.asked.items[phrase].text} {note.name}"
        if text not in texts:
            texts.add(text)
            yield Query(text, phrase, note, strain)


def _strain(note: Note, phrase: int) -> int:
    if note.place is None or phrase >= note.place:
        return _UNJOINED
    return min(note.strain + note.place - phrase - 1, _UNJOINED)


def _answer_rank(note: Note) -> tuple[int, int, float, int]:
    """Sort names by how well they are joined to the question, then by how often they were read."""
    strain = _UNJOINED if note.place is None else min(note.strain, _UNJOINED)
    return strain, -len(note.roots), -note.overlap, -note.documents
