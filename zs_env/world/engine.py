"""The search engine of a fictional world: it reads the query, and only the query.

A useful page holds the facts that the query asks for among others; a noisy page holds sentences on
the same topic, true as well, in which neither those facts nor a gold answer stands.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence

from zs_env.scoring import contains_answer
from zs_env.search import Document, SearchPage, SearchRequest
from zs_env.world.relations import RELATIONS
from zs_env.world.world import Entity, Fact, World

_WORDS = re.compile(r"[a-z0-9]+")
_RELATION_PATTERN = re.compile(
    "|".join(sorted({relation.name for relation in RELATIONS}, key=len, reverse=True))
)
_MAX_MATCHES = 4  # asked-for facts on one page, so that a page always holds something else too


class WorldEngine:
    """Answers queries from a world's facts. Deterministic given the request."""

    name = "world"

    def __init__(self, world: World) -> None:
        self.world = world
        self.fingerprint = f"world/1/{world.seed}/{world.split}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return a page per request; a query that names nothing gives sentences at random."""
        return [self._page(request) for request in requests]

    def _page(self, request: SearchRequest) -> SearchPage:
        rng = random.Random(request.seed)
        entities, relations = self._read(request.query)
        asked_for = self._asked_for(entities, relations, request.answers or (), rng)
        useful = self._fill(asked_for, entities, relations, set(asked_for), rng)
        noisy = self._fill(
            [], entities, relations, set(asked_for), rng, lambda fact: _is_silent(fact, request)
        )
        flags = request.useful
        # Among the useful places, the asked-for facts stand anywhere.
        useful_documents = _take(useful, sum(flags))
        rng.shuffle(useful_documents)
        noisy_documents = _take(noisy, len(flags) - sum(flags))
        documents = tuple(
            Document((useful_documents if flag else noisy_documents).pop().sentence, useful=flag)
            for flag in flags
        )
        return SearchPage(documents, engine=self.name)

    def _read(self, query: str) -> tuple[list[Entity], list[str]]:
        """Find the entities and relations that a query names, in order."""
        words = _WORDS.findall(query.lower())
        named = (self.world.named.get(f"{a} {b}") for a, b in zip(words, words[1:], strict=False))
        relations = _RELATION_PATTERN.findall(" ".join(words))
        return list(dict.fromkeys(filter(None, named))), relations

    def _asked_for(
        self,
        entities: list[Entity],
        relations: list[str],
        answers: Sequence[str],
        rng: random.Random,
    ) -> list[Fact]:
        """Facts that join a named entity with a named relation, those with an answer first."""
        facts = []
        for entity in entities:
            about = [f for f in self._about(entity) if f.relation.name in relations]
            facts += about or [f for f in self._naming(entity) if f.relation.name in relations]
        rng.shuffle(facts)
        facts.sort(key=lambda fact: not contains_answer(fact.sentence, answers))
        return facts[:_MAX_MATCHES]

    def _fill(
        self,
        first: Iterable[Fact],
        entities: list[Entity],
        relations: list[str],
        asked_for: set[Fact],
        rng: random.Random,
        admit: Callable[[Fact], bool] = lambda fact: True,
    ) -> Iterable[Fact]:
        """Yield `first`, then facts on topic, then any: each once, none of `asked_for` again."""
        yield from first
        seen = set(asked_for)
        near = [fact for entity in entities for fact in self._about(entity) + self._naming(entity)]
        alike = [fact for name in relations for fact in rng.sample(self.world.facts_of[name], 4)]
        topical = rng.sample(near, len(near))[:4] + alike[:4]
        rng.shuffle(topical)
        while True:
            fact = topical.pop() if topical else rng.choice(self.world.facts)
            if fact not in seen and admit(fact):
                seen.add(fact)
                yield fact

    def _about(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_about.get(entity, ())

    def _naming(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_naming.get(entity, ())


def _take(facts: Iterable[Fact], count: int) -> list[Fact]:
    iterator = iter(facts)
    return [next(iterator) for _ in range(count)]


def _is_silent(fact: Fact, request: SearchRequest) -> bool:
    """Whether a sentence keeps the gold answers to itself."""
    return not contains_answer(fact.sentence, request.answers or ())
