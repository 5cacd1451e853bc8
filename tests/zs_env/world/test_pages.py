"""The pages of entities, and the questions that only they answer."""

import re

import pytest

from zs_env.metrics import contains_answer
from zs_env.search.engine import search_checked
from zs_env.search.postprocess import postprocess_page
from zs_env.search.types import NOISE_KINDS, SearchPage, SearchRequest
from zs_env.world import PAGE_STRUCTURES, Chain, World, WorldEngine, WorldQuestions, parse_question
from zs_env.world.pages import entity_of, full_texts, page_statements, page_text
from zs_env.world.relations import PAGE_RELATIONS

WORLD = World(2)
ENGINE = WorldEngine(WORLD)
NAMES = {relation.name for relation in PAGE_RELATIONS}
FACTS = WORLD.page_facts[::29]


def opened(query, *, useful=True, kind="irrelevant", answers=None, seed=0):
    """The documents of a search, and the pages that they open."""
    request = SearchRequest(query, None, answers, (useful,) * 5, seed, kind)
    (page,) = search_checked(ENGINE, [request])
    documents = postprocess_page(page, 5, (), 2048).documents
    requests = [
        SearchRequest(query, None, answers, (useful,) * 5, seed, kind, document)
        for document in documents
    ]
    pages = search_checked(ENGINE, requests)
    assert all(isinstance(one, SearchPage) for one in pages), pages
    return documents, [one.documents[0] for one in pages]


def test_the_facts_of_pages_do_not_change_the_world():
    assert not NAMES & {fact.relation.name for fact in WORLD.facts}
    assert {fact.relation.name for fact in WORLD.page_facts} == NAMES
    assert WORLD.page_facts == World(2).page_facts != World(3).page_facts


def test_no_search_states_a_fact_of_a_page():
    texts = [row["text"] for row in WORLD.passages()]
    for fact in FACTS:
        for query in (f"{fact.relation.name} of {fact.subject.name}", fact.sentence()):
            for kind in NOISE_KINDS:
                request = SearchRequest(query, None, None, (True, False) * 2, 0, kind)
                texts += [one.text for one in ENGINE.search([request])[0].documents]
    assert not any(re.search(rf"\b{name}\b", text) for name in NAMES for text in texts)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.sentence())
def test_a_search_for_an_entity_finds_a_document_whose_page_states_its_facts(fact):
    documents, pages = opened(f"{fact.relation.name} of {fact.subject.name}")
    texts = [
        page.text
        for document, page in zip(documents, pages, strict=True)
        if entity_of(WORLD, document.text) is fact.subject
    ]
    assert texts and all(fact.sentence() in text for text in texts)
    for document, page in zip(documents, pages, strict=True):
        assert document.text in page.text and len(page.text) > len(document.text)
        assert page.useful is True


@pytest.mark.parametrize("kind", [kind for kind in NOISE_KINDS if kind != "empty"])
def test_the_page_of_a_noisy_document_has_no_answer(kind):
    for seed, fact in enumerate(FACTS):
        answers = fact.object.names
        query = f"{fact.relation.name} of {fact.subject.name}"
        documents, pages = opened(query, useful=False, kind=kind, answers=answers, seed=seed)
        for document, page in zip(documents, pages, strict=True):
            assert (page.useful, page.noise_kind) == (document.useful, document.noise_kind)
            if not document.useful:  # a conflicting page has useful ones
                assert page.text.startswith(document.text)
                assert not contains_answer(page.text, answers)


def test_a_false_document_opens_a_page_without_the_true_fact():
    for fact in WORLD.facts[::60]:
        query = f"{fact.relation.name} of {fact.subject.name}"
        documents, pages = opened(query, useful=False, kind="misleading")
        for document, page in zip(documents, pages, strict=True):
            if document.noise_kind == "misleading":
                assert fact.sentence() not in page.text


def test_every_passage_belongs_to_the_page_of_its_entity():
    texts = [row["text"] for row in WORLD.passages()]
    for text, full in zip(texts, full_texts(WORLD, texts), strict=True):
        assert text in full
    assert full_texts(WORLD, ["Something else."]) == ["Something else."]


@pytest.mark.parametrize("structure", PAGE_STRUCTURES)
def test_the_answer_to_a_question_stands_on_the_page_of_the_last_subject(structure):
    facts = {(name, f.relation.name): f.object for f in WORLD.facts for name in f.subject.names}
    for question in WorldQuestions(WORLD, [structure])[:60]:
        parsed = parse_question(question.text)
        assert isinstance(parsed, Chain) and len(parsed.relations) == int(structure[-1])
        assert question.metadata == {"structure": structure, "hops": int(structure[-1])}
        assert parsed.relations[-1] in NAMES and not NAMES & {*parsed.relations[:-1]}
        name = parsed.start
        for relation in parsed.relations[:-1]:
            name = facts[name, relation].name
        page = page_text(page_statements(WORLD, WORLD.named[name.lower()]))
        assert f"The {parsed.relations[-1]} of {name} is {question.answers[0]}." in page
