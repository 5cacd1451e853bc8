"""A fictional world made from a seed: entities, facts and their sentences.

No model was trained on it, so an agent can know its facts only from searches.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from zs_env.world.names import NAME_PARTS, SPLITS, Split, names_of
from zs_env.world.relations import PAGE_RELATIONS, RELATIONS, Kind, Relation

YEARS = tuple(str(year) for year in range(1800, 1900))
_ALIASED_SHARE = 0.15
# Number of entities by kind, and the stock of their names.
_ENTITIES: dict[Kind, tuple[int, str]] = {
    "person": (260, "person"),
    "city": (60, "place"),
    "country": (12, "place"),
    "river": (20, "place"),
    "mountain": (20, "place"),
    "work": (140, "work"),
    "organisation": (60, "organisation"),
    "language": (12, "organisation"),
    "currency": (12, "organisation"),
}


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity with a name that is unique in its world; some have an alias."""

    name: str
    kind: Kind
    alias: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and, if there is one, the alias."""
        return (self.name,) if self.alias is None else (self.name, self.alias)


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement: `object` is the `relation` of `subject`."""

    subject: Entity
    relation: Relation
    object: Entity

    def sentence(self, name: str | None = None) -> str:
        """Return the fact as a sentence; `name` is one of the names of the subject."""
        return f"The {self.relation.name} of {name or self.subject.name} is {self.object.name}."

    def inverse_sentence(self) -> str:
        """Return the fact as a sentence about the object."""
        return f"{self.object.name} is the {self.relation.name} of {self.subject.name}."


class World:
    """Entities and facts drawn from a seed.

    `facts` are those that search results state.

    Args:
        seed: determines all facts.
        split: "train" or "heldout"; worlds of different splits share no name and no alias.
    """

    def __init__(self, seed: int = 0, split: Split = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"got split {split!r}, expected one of {SPLITS}")
        self.seed = seed
        self.split: Split = split
        rng = random.Random(f"world {seed} {split}")
        self.entities: dict[Kind, tuple[Entity, ...]] = self._make_entities(rng)
        self.facts: tuple[Fact, ...] = tuple(self._make_facts(rng, RELATIONS))

    def _make_entities(self, rng: random.Random) -> dict[Kind, tuple[Entity, ...]]:
        stocks = {stock: names_of(stock, self.split, rng) for stock in NAME_PARTS}
        entities: dict[Kind, tuple[Entity, ...]] = {
            kind: tuple(
                Entity(
                    next(stocks[stock]),
                    kind,
                    next(stocks[stock]) if rng.random() < _ALIASED_SHARE else None,
                )
                for _ in range(count)
            )
            for kind, (count, stock) in _ENTITIES.items()
        }
        entities["year"] = tuple(Entity(year, "year") for year in YEARS)
        return entities

    def _make_facts(self, rng: random.Random, relations: tuple[Relation, ...]) -> Iterator[Fact]:
        for relation in relations:
            one_to_one = relation.name in ("capital", "language", "currency")
            objects = list(self.entities[relation.object])
            rng.shuffle(objects)
            for position, subject in enumerate(self.entities[relation.subject]):
                if rng.random() >= relation.coverage:
                    continue
                chosen = objects[position] if one_to_one else rng.choice(objects)
                while chosen is subject:
                    chosen = rng.choice(objects)
                yield Fact(subject, relation, chosen)

    @cached_property
    def named(self) -> dict[str, Entity]:
        """Entities other than years, by lower-case name and alias."""
        return {
            name.lower(): entity
            for kind, entities in self.entities.items()
            if kind != "year"
            for entity in entities
            for name in entity.names
        }

    @cached_property
    def page_facts(self) -> tuple[Fact, ...]:
        """Facts that only the pages of their subjects state, see `zs_env.world.pages`."""
        rng = random.Random(f"pages {self.seed} {self.split}")
        return tuple(self._make_facts(rng, PAGE_RELATIONS))

    @cached_property
    def page_facts_about(self) -> dict[Entity, tuple[Fact, ...]]:
        """`page_facts` by their subject."""
        return _by_entity(self.page_facts, "subject")

    @cached_property
    def facts_about(self) -> dict[Entity, tuple[Fact, ...]]:
        """Facts by their subject."""
        return _by_entity(self.facts, "subject")

    @cached_property
    def facts_naming(self) -> dict[Entity, tuple[Fact, ...]]:
        """Facts by their object."""
        return _by_entity(self.facts, "object")

    @cached_property
    def facts_of(self) -> dict[str, tuple[Fact, ...]]:
        """Facts by the name of their relation."""
        by_relation: dict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            by_relation[fact.relation.name].append(fact)
        return {name: tuple(facts) for name, facts in by_relation.items()}

    def passages(self) -> list[dict[str, str]]:
        """Return the world as a corpus of passages with `id`, `title` (empty) and `text`.

        A passage is one sentence. A fact has one sentence for each name of its subject and one
        about its object, unless that is a year.
        """
        texts = [
            text
            for fact in self.facts
            for text in (
                *map(fact.sentence, fact.subject.names),
                *([] if fact.object.kind == "year" else [fact.inverse_sentence()]),
            )
        ]
        return [
            {"id": f"{self.split}-{self.seed}-{i}", "title": "", "text": text}
            for i, text in enumerate(texts)
        ]


def _by_entity(facts: tuple[Fact, ...], role: str) -> dict[Entity, tuple[Fact, ...]]:
    grouped: dict[Entity, list[Fact]] = defaultdict(list)
    for fact in facts:
        grouped[getattr(fact, role)].append(fact)
    return {entity: tuple(found) for entity, found in grouped.items()}
