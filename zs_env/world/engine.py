"""The search engine of a fictional world, which reads the query but not the question.

A useful page contains the requested facts and other ones. A noisy page contains facts on the same
topic, which are also true, but neither the requested facts nor a gold answer, unless the question
names the answer; `noise.py` has the other kinds of noise.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice, pairwise

from zs_env.metrics import contains_answer
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.search.engine import Answer, SearchEngine
from zs_env.search.opening import not_found, open_by_search
from zs_env.search.types import NOISE_KINDS, Document, SearchPage, SearchRequest
from zs_env.world.noise import MAX_MATCHES, Topic, WorldNoise
from zs_env.world.pages import entity_of, page_statements, page_text
from zs_env.world.relations import RELATIONS
from zs_env.world.world import Entity, Fact, World

_WORDS = re.compile(r"[a-z0-9]+")
_RELATION_PATTERN = re.compile(
    "|".join(sorted({relation.name for relation in RELATIONS}, key=len, reverse=True))
)
_MAX_DRAWS = 64  # random facts that are tried before a page is shortened


class WorldEngine(SearchEngine):
    """Answers queries with the facts of a world; equal requests give equal pages."""

    name = "world"
    supports_noise = in_process = thread_safe = can_open = True
    noise_kinds = NOISE_KINDS

    def __init__(self, world: World) -> None:
        self.world = world
        self._noise = WorldNoise(world)
        self.fingerprint = f"world/5/{world.seed}/{world.split}"

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

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return the pages of the entities that the documents are about.

        A noisy document opens a noisy page: the document, and the other facts of the page without
        the requested facts, those that the document contradicts, and hidden answers.
        """
        found = open_by_search(self, requests)
        return list(map(self._opened, requests, found))

    def _opened(self, request: SearchRequest, found: Answer) -> Answer:
        if not isinstance(found, SearchPage):
            return found
        document = found.documents[0]
        entity = entity_of(self.world, document.text)
        if entity is None:
            return not_found(document, self)
        statements = page_statements(self.world, entity)
        text = page_text(statements)
        if document.useful is False:
            named, relations = self._read(request.query)
            requested = self._requested_facts(list(named), relations)
            contradicted = document.noise_kind in ("misleading", "conflicting")
            hidden, compared = self._hidden(request)
            requested += compared
            said = _RELATION_PATTERN.findall(document.text) if contradicted else []
            kept = [
                one
                for one in statements
                if one.fact not in requested
                and one.fact.relation.name not in said
                and not contains_answer(one.sentence, hidden)
            ]
            text = f"{document.text} {page_text(kept)}"
        whole = replace(document, title=entity.name, text=text)
        return replace(found, documents=(whole,))

    def _page(self, request: SearchRequest) -> SearchPage:
        rng = random.Random(request.seed)
        named, relations = self._read(request.query)
        entities = list(named)
        requested = self._requested_facts(entities, relations)
        seen, useful = set(requested), list[Fact]()
        others = self._others(entities, relations, seen, rng)
        plain = request.noise_kind == "irrelevant"
        near = () if plain else tuple(dict.fromkeys(self._near(entities)))
        answers = request.answers or ()
        hidden, compared = self._hidden(request)
        topic = Topic(named, requested, near, others, seen, useful, answers, hidden, compared)
        rng.shuffle(requested)
        requested.sort(key=topic.is_answer_free)
        flags = request.expected
        num_useful = sum(flags)
        useful += requested[: min(MAX_MATCHES, num_useful)]
        useful += islice(others, num_useful - len(useful))
        # The requested facts have random ranks among the useful documents.
        rng.shuffle(useful)
        noisy = self._noise.documents(request.noise_kind, len(flags) - num_useful, topic, rng)
        sources = {True: [Document(topic.sentence(fact), useful=True) for fact in useful]}
        sources[False] = noisy
        documents = [sources[flag].pop() for flag in flags if sources[flag]]
        return SearchPage(tuple(documents), engine=self.name)

    def _hidden(self, request: SearchRequest) -> tuple[tuple[str, ...], list[Fact]]:
        """Return what noisy documents hide: the gold answers, or the facts that are compared.

        A comparison hides no answer, see `zs_env.questions.hidden_answers`.
        """
        if hidden := hidden_answers(request.question, request.answers):
            return hidden, []
        named, relations = self._read(request.question or "")
        return (), self._requested_facts(list(named), relations)

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
        near = self._near(entities)
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

    def _near(self, entities: list[Entity]) -> list[Fact]:
        return [fact for entity in entities for fact in self._about(entity) + self._naming(entity)]

    def _about(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_about.get(entity, ())

    def _naming(self, entity: Entity) -> tuple[Fact, ...]:
        return self.world.facts_naming.get(entity, ())
