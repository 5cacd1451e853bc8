"""The search engine of a fictional world, which reads the query but not the question.

A useful page contains the requested facts and other ones. A noisy page contains facts on the same
topic, which are also true, but neither the requested facts nor a gold answer.
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
_MAX_MATCHES = 4  # requested facts on one page, which so always has other facts too
_MAX_DRAWS = 64  # random facts that are tried before a page is shortened


class WorldEngine(SearchEngine):
    """Answers queries with the facts of a world; equal requests give equal pages."""

    name = "world"
    supports_noise = in_process = thread_safe = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.fingerprint = f"world/2/{world.seed}/{world.split}"

    @cached_property
    def _namesakes(self) -> dict[Entity, tuple[Entity, ...]]:
        """For each entity, other entities that share a part of a name, as a source of noise."""
        by_part: dict[str, dict[Entity, None]] = defaultdict(dict)
        for name, entity in self.world.named.items():
            for part in name.split():
                by_part[part][entity] = None
        return {
            entity: tuple(
                other
                for part in dict.fromkeys(" ".join(entity.names).lower().split())
                for other in by_part[part]
                if other is not entity
            )
            for entity in self.world.named.values()
        }

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return one page per request; a query without a known name gives random facts."""
        return [self._page(request) for request in requests]

    def _page(self, request: SearchRequest) -> SearchPage:
        rng = random.Random(request.seed)
        answers = request.answers or ()
        named, relations = self._read(request.query)
        entities = list(named)

        def answer_free(fact: Fact) -> bool:
            return not contains_answer(_sentence(fact, named), answers)

        requested = self._requested_facts(entities, relations)
        rng.shuffle(requested)
        requested.sort(key=answer_free)
        others = self._others(entities, relations, set(requested), rng)
        num_useful = sum(request.useful)
        useful = requested[: min(_MAX_MATCHES, num_useful)]
        useful += islice(others, num_useful - len(useful))
        # The requested facts have random ranks among the useful documents.
        rng.shuffle(useful)
        noisy = list(islice(filter(answer_free, others), len(request.useful) - num_useful))
        sources = [(useful if flag else noisy, flag) for flag in request.useful]
        documents = [
            Document(_sentence(facts.pop(), named), useful=flag) for facts, flag in sources if facts
        ]
        return SearchPage(tuple(documents), engine=self.name)

    def _read(self, query: str) -> tuple[dict[Entity, str], list[str]]:
        """Return the entities in a query, by the name that it uses, and the relations."""
        words = _WORDS.findall(query.lower())
        named = {}
        for first, last in pairwise(words):
            entity = self.world.named.get(f"{first} {last}")
            if entity is not None:
                named.setdefault(entity, f"{first} {last}".title())
        return named, _RELATION_PATTERN.findall(" ".join(words))

    def _requested_facts(self, entities: list[Entity], relations: list[str]) -> list[Fact]:
        """Return facts with a named relation and a named entity as subject, or as object."""
        facts = []
        for entity in entities:
            about = [fact for fact in self._about(entity) if fact.relation.name in relations]
            naming = [fact for fact in self._naming(entity) if fact.relation.name in relations]
            facts += about or naming
        return facts

    def _others(
        self, entities: list[Entity], relations: list[str], seen: set[Fact], rng: random.Random
    ) -> Iterator[Fact]:
        """Yield facts on the topic, then `_MAX_DRAWS` random ones, without those in `seen`."""
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


def _sentence(fact: Fact, named: Mapping[Entity, str]) -> str:
    """Return a fact as a sentence about the entity that the query names, by that name."""
    if fact.subject not in named and fact.object in named:
        return fact.inverse_sentence()
    return fact.sentence(named.get(fact.subject))
