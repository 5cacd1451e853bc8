"""The relations of the fictional world; a subject has at most one object per relation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "person", "city", "country", "river", "mountain", "work", "organisation",
    "language", "currency", "year",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Relation:
    """A function from entities of one kind to entities or years.

    Attributes:
        name: name in questions, queries and sentences.
        subject: kind of the subjects.
        object: kind of the objects.
        coverage: share of the subjects that have an object, in (0, 1].
    """

    name: str
    subject: Kind
    object: Kind
    coverage: float = 1.0


RELATIONS: tuple[Relation, ...] = (
    Relation("birthplace", "person", "city"),
    Relation("residence", "person", "city", 0.7),
    Relation("birth year", "person", "year"),
    Relation("spouse", "person", "person", 0.6),
    Relation("teacher", "person", "person", 0.8),
    Relation("rival", "person", "person", 0.5),
    Relation("employer", "person", "organisation", 0.8),
    Relation("country", "city", "country"),
    Relation("mayor", "city", "person"),
    Relation("river", "city", "river"),
    Relation("founding year", "city", "year"),
    Relation("capital", "country", "city"),
    Relation("president", "country", "person"),
    Relation("language", "country", "language"),
    Relation("currency", "country", "currency"),
    Relation("source", "river", "mountain"),
    Relation("author", "work", "person"),
    Relation("publisher", "work", "organisation"),
    Relation("setting", "work", "city"),
    Relation("hero", "work", "person"),
    Relation("release year", "work", "year"),
    Relation("headquarters", "organisation", "city"),
    Relation("founder", "organisation", "person"),
    Relation("director", "organisation", "person"),
    Relation("opening year", "organisation", "year"),
)

# Relations that only the page of a subject states, and no search result.
PAGE_RELATIONS: tuple[Relation, ...] = (
    Relation("burial place", "person", "city"),
    Relation("patron", "person", "person", 0.8),
    Relation("sister city", "city", "city"),
    Relation("translator", "work", "person"),
    Relation("first customer", "organisation", "person"),
)

# Pairs of relations for intersection questions.
INTERSECTIONS: tuple[tuple[str, str], ...] = (
    ("author", "setting"),
    ("author", "publisher"),
    ("publisher", "setting"),
    ("birthplace", "employer"),
    ("residence", "employer"),
    ("headquarters", "founder"),
    ("headquarters", "director"),
)
