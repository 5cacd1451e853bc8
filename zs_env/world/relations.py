"""The relations of the fictional world: each gives a subject exactly one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "person", "city", "country", "river", "mountain", "work", "organisation",
    "language", "currency", "year",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Relation:
    """A named function from entities of one kind to entities (or years) of another.

    Attributes:
        name: how questions, queries and sentences call it.
        subject: kind of the entities that have it.
        object: kind of what it gives.
        coverage: share of the subjects that have it, in (0, 1].
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

# Pairs of relations of one kind by which an intersection question singles out an entity.
INTERSECTIONS: tuple[tuple[str, str], ...] = (
    ("author", "setting"),
    ("author", "publisher"),
    ("publisher", "setting"),
    ("birthplace", "employer"),
    ("residence", "employer"),
    ("headquarters", "founder"),
    ("headquarters", "director"),
)
