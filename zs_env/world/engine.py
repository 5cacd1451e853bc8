"""The search engine of a fictional world: it reads the query, and only the query.

A useful page holds the facts that the query asks for among others; a noisy page holds sentences on
the same topic, true as well, in which neither those facts nor a gold answer stands.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice, pairwise

from zs_env.metrics import contains_answer
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.world.relations import RELATIONS
from zs_env.world.world import Entity, Fact, World

_WORDS = re.compile(r"[a-z0-9]+")
_RELATION_PATTERN = re.compile(
    "|".join(sorted({relation.name for relation in RELATIONS}, key=len, reverse=True))
)
_MAX_MATCHES = 4  # asked-for facts on one page, so that a page always holds something else too
_MAX_DRAWS = 64  # facts drawn at random before a page is left shorter


class WorldEngine(SearchEngine):
    """Answers queries from a world's facts. Deterministic given the request."""

    name = "world"
    in_process = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.fingerprint = f"world/2/{world.seed}/{world.split}"

    @cached_property
    def _namesakes(self) -> dict[Entity, tuple[Entity, ...]]:
        """Entities that share one part of a name with an entity: what a real engine mixes up."""
        bearers: dict[str, dict[Entity, None]] = defaultdict(dict)
        for name, entity in self.world.named.items():
            for part in name.split():
                bearers[part][entity] = None
        return {
            entity: tuple(
                other
                for part in dict.fromkeys(" ".join(entity.names).lower().split())
                for other in bearers[part]
                if other is not entity
            )
            for entity in self.world.named.values()
        }

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return a page per request; a query that names nothing gives sentences at random."""
        return [self._page(request) for request in requests]

    def _page(self, request: SearchRequest) -> SearchPage:
        rng = random.Random(request.seed)
        answers = request.answers or ()
        named, relations = self._read(request.query)
        entities = list(named)

        def silent(fact: Fact) -> bool:
            return not contains_answer(_say(fact, named), answers)

        asked_for = self._asked_for(entities, relations)
        rng.shuffle(asked_for)
        asked_for.sort(key=silent)
        others = self._others(entities, relations, set(asked_for), rng)
        num_useful = sum(request.useful)
        useful = asked_for[: min(_MAX_MATCHES, num_useful)]
        useful += islice(others, num_useful - len(useful))
        # The asked-for facts stand anywhere among the useful places.
        rng.shuffle(useful)
        noisy = list(islice(filter(silent, others), len(request.useful) - num_useful))
        places = [(useful if flag else noisy, flag) for flag in request.useful]
        documents = [
            Document(_say(facts.pop(), named), useful=flag) for facts, flag in places if facts
        ]
        return SearchPage(tuple(documents), engine=self.name)

    def _read(self, query: str) -> tuple[dict[Entity, str], list[str]]:
        """Find the entities that a query names, with the name it uses, and the relations."""
        words = _WORDS.findall(query.lower())
        named = {}
        for first, last in pairwise(words):
            entity = self.world.named.get(f"{first} {last}")
            if entity is not None:
                named.setdefault(entity, f"{first} {last}".title())
        return named, _RELATION_PATTERN.findall(" ".join(words))

    def _asked_for(self, entities: list[Entity], relations: list[str]) -> list[Fact]:
        """Facts that join a named entity with a named relation, whatever its part in them."""
        facts = []
        for entity in entities:
            about = [fact for fact in self._about(entity) if fact.relation.name in relations]
            naming = [fact for fact in self._naming(entity) if fact.relation.name in relations]
            facts += about or naming
        return facts

    def _others(
        self, entities: list[Entity], relations: list[str], seen: set[Fact], rng: random.Random
    ) -> Iterator[Fact]:
        """Yield facts on topic, then any, each once and none in `seen`; an end is in sight."""
        near = [fact for entity in entities for fact in self._about(entity) + self._naming(entity)]
        alike = [fact for name in relations for fact in rng.sample(self.world.facts_of[name], 2)]
        topical = rng.sample(near, min(len(near), 3)) + alike[:2]
        namesakes = [other for entity in entities for other in self._namesakes[entity]]
        of_namesakes = [fact for other in namesakes for fact in self._about(other)]
        same_relation = [fact for fact in of_namesakes if fact.relation.name in relations]
        topical += rng.sample(same_relation, min(len(same_relation), 3))
        rng.shuffle(topical)
        for fact in chain(topical, rng.choices(self.world.facts, k=_MAX_DRAWS)):
            if fact not in seen:
                seen.add(fact)
                yield fact

    def _about(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_about.get(entity, ())

    def _naming(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_naming.get(entity, ())


def _say(fact: Fact, named: Mapping[Entity, str]) -> str:
    """Put a fact as an answer to a query would: said of what the query names, by that name."""
    if fact.subject not in named and fact.object in named:
        return fact.inverse_sentence()
    return fact.sentence(named.get(fact.subject))
