"""The noisy documents of a world, by the kind of noise."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from zs_env.metrics import contains_answer, squad_normalized
from zs_env.search.types import Document, NoiseKind
from zs_env.text.injections import inject
from zs_env.world.world import Entity, Fact, World

MAX_MATCHES = 4  # requested facts on one page, which so always has other facts too
_MAX_NEAR = 3  # facts about a named entity that are contradicted if no fact is requested
_MAX_DRAWS = 64  # entities that are tried as a wrong answer


@dataclass(frozen=True, slots=True)
class Topic:
    """What a query is about, and the facts for its page.

    Attributes:
        named: the entities that the query names, by the name that it uses.
        requested: the facts that the query requests.
        near: the facts about the named entities.
        others: further facts, on the topic first; without those in `seen`.
        seen: facts that are not taken from `others`.
        shown: facts in the useful documents of the page.
        answers: gold answers of the question; empty if unknown.
        hidden: those that a noisy document must not name.
        compared: the facts that a comparison asks for, which a noisy document must not state.
    """

    named: Mapping[Entity, str]
    requested: Sequence[Fact]
    near: Sequence[Fact]
    others: Iterator[Fact]
    seen: set[Fact]
    shown: Sequence[Fact]
    answers: tuple[str, ...]
    hidden: tuple[str, ...]
    compared: Collection[Fact]

    def sentence(self, fact: Fact) -> str:
        """Return a fact as a sentence about the entity that the query names, by that name."""
        if self.is_about_object(fact):
            return fact.inverse_sentence()
        return fact.sentence(self.named.get(fact.subject))

    def is_about_object(self, fact: Fact) -> bool:
        """Whether the query names the object of a fact and not its subject."""
        return fact.subject not in self.named and fact.object in self.named

    def is_answer_free(self, fact: Fact) -> bool:
        """Whether a fact does not answer the question."""
        return fact not in self.compared and not contains_answer(self.sentence(fact), self.hidden)


class WorldNoise:
    """Writes the noisy documents of a page."""

    def __init__(self, world: World) -> None:
        self._world = world

    def documents(
        self, kind: NoiseKind, count: int, topic: Topic, rng: random.Random
    ) -> list[Document]:
        """Return noisy documents of a kind in random order; there may be too few.

        misleading: requested facts with a wrong object of the same type; if none is requested,
            such statements about the entities that the query names.
        conflicting: requested facts, or facts about the named entities, each with a contradiction.
            If a page has one noisy document only, it is misleading.
        injected: true sentences, each followed by an instruction to give a wrong answer.

        Irrelevant documents take the remaining places. They are all documents if a query names
        nothing. No false statement and no instruction contains a hidden answer.
        """
        documents: list[Document] = []
        if kind == "misleading" or (kind == "conflicting" and count == 1):
            limit = min(count, MAX_MATCHES)
            documents = [false for _, false in self._contradicted("misleading", limit, topic, rng)]
        elif kind == "conflicting":
            pairs = self._contradicted(kind, count // 2, topic, rng)
            documents = [false for _, false in pairs]
            true = [fact for fact, _ in pairs if fact not in topic.shown]
            if pairs and count % 2:
                true += islice(filter(topic.is_answer_free, topic.others), 1)
            documents += [Document(topic.sentence(fact), useful=True) for fact in true]
        missing = count - len(documents)
        facts = list(islice(filter(topic.is_answer_free, topic.others), missing))
        sentences = list(map(topic.sentence, facts))
        if kind == "injected" and sentences:
            documents = self._injected(sentences, topic, rng)
        else:
            documents += [
                Document(sentence, useful=False, noise_kind="irrelevant") for sentence in sentences
            ]
        if kind != "irrelevant":
            rng.shuffle(documents)
        return documents

    def _contradicted(
        self, kind: NoiseKind, count: int, topic: Topic, rng: random.Random
    ) -> list[tuple[Fact, Document]]:
        """Return at most `count` facts on the topic, each with a document that contradicts it."""
        facts = list(topic.requested)
        if not facts or kind == "conflicting":
            near = [fact for fact in topic.near if fact not in topic.requested]
            facts += rng.sample(near, min(len(near), _MAX_NEAR))
        pairs: dict[str, tuple[Fact, Document]] = {}
        for fact in facts:
            if len(pairs) == count:
                break
            document = self._contradiction(kind, fact, topic, rng)
            if document is not None and document.text not in pairs:
                pairs[document.text] = fact, document
                topic.seen.add(fact)
        return list(pairs.values())

    def _contradiction(
        self, kind: NoiseKind, fact: Fact, topic: Topic, rng: random.Random
    ) -> Document | None:
        """Return a document that contradicts a fact without a hidden answer, or None.

        It has the form of the fact's own sentence, with another entity of the same kind.
        """
        about_object = topic.is_about_object(fact)
        true = fact.subject if about_object else fact.object
        for wrong in self._wrong_entities(true, topic, rng):
            subject, object_ = (wrong, fact.object) if about_object else (fact.subject, wrong)
            false = Fact(subject, fact.relation, object_)
            if (
                false not in self._facts
                and subject is not object_
                and wrong not in topic.named
                and topic.is_answer_free(false)
            ):
                return _noisy(kind, topic.sentence(false), wrong)
        return None

    def _injected(
        self, sentences: Sequence[str], topic: Topic, rng: random.Random
    ) -> list[Document]:
        """Return documents whose sentences are followed by an instruction, if that is possible."""
        wrong = next(self._wrong_entities(self._asked_entity(topic, rng), topic, rng), None)
        first = rng.randrange(1000)
        documents = []
        for number, sentence in enumerate(sentences, first):
            text = None if wrong is None else inject(sentence, wrong.name, number, topic.hidden)
            if wrong is None or text is None:
                documents.append(Document(sentence, useful=False, noise_kind="irrelevant"))
            else:
                documents.append(_noisy("injected", text, wrong))
        return documents

    def _asked_entity(self, topic: Topic, rng: random.Random) -> Entity:
        """Return the gold answer or, if it is unknown, the object of a fact on the topic."""
        for answer in topic.answers:
            if answer.lower() in self._entities:
                return self._entities[answer.lower()]
        facts = topic.requested or topic.near or self._world.facts
        return rng.choice(facts).object

    def _wrong_entities(self, true: Entity, topic: Topic, rng: random.Random) -> Iterator[Entity]:
        """Yield entities of the same kind as `true`.

        Their names have no word in common with the names of `true`, the answers and the names of
        the compared entities. So a wrong entity is equally unlike both sides of a comparison.
        """
        compared = [name for fact in topic.compared for name in fact.subject.names]
        names = (*true.names, *topic.answers, *compared)
        known = set(squad_normalized(" ".join(names)).split())
        for entity in rng.choices(self._world.entities[true.kind], k=_MAX_DRAWS):
            if known.isdisjoint(squad_normalized(entity.name).split()):
                yield entity

    @cached_property
    def _facts(self) -> frozenset[Fact]:
        return frozenset(self._world.facts)

    @cached_property
    def _entities(self) -> dict[str, Entity]:
        years = {entity.name: entity for entity in self._world.entities["year"]}
        return {**self._world.named, **years}


def _noisy(kind: NoiseKind, text: str, wrong: Entity) -> Document:
    metadata = (("wrong_answer", wrong.name),)
    return Document(text, useful=False, metadata=metadata, noise_kind=kind)
