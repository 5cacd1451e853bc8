"""The page of each entity of a world, which an agent reads by opening a search result about it.

A page has all facts about its entity, in sentences with each of its names, the facts of which it is
the object, and those that no search result states, see `PAGE_RELATIONS`.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from zs_env.world.world import Entity, Fact, World

_ABOUT = re.compile(r"(?:The [a-z ]+ of (\w+ \w+) is |(\w+ \w+) is the [a-z ]+ of )")


class Statement(NamedTuple):
    """A sentence of a page, and its fact."""

    fact: Fact
    sentence: str


def page_statements(world: World, entity: Entity) -> list[Statement]:
    """Return the sentences of the page of an entity, in a random order that is always the same."""
    about = [*world.facts_about.get(entity, ()), *world.page_facts_about.get(entity, ())]
    statements = [Statement(fact, fact.sentence(name)) for name in entity.names for fact in about]
    statements += [
        Statement(fact, fact.inverse_sentence()) for fact in world.facts_naming.get(entity, ())
    ]
    random.Random(f"page {world.seed} {world.split} {entity.name}").shuffle(statements)
    return statements


def page_text(statements: list[Statement]) -> str:
    """Return sentences as a text."""
    return " ".join(one.sentence for one in statements)


def entity_of(world: World, text: str) -> Entity | None:
    """Return the entity that a search result is about; None if the text is no search result."""
    about = _ABOUT.match(text)
    return None if about is None else world.named.get((about[1] or about[2]).lower())


def full_texts(world: World, texts: list[str]) -> list[str]:
    """Return for each search result the page of the entity that it is about."""
    entities = [entity_of(world, text) for text in texts]
    pages = {one: page_text(page_statements(world, one)) for one in entities if one is not None}
    return [
        text if entity is None else pages[entity]
        for text, entity in zip(texts, entities, strict=True)
    ]
