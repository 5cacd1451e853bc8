"""The fictional world's search engine."""

import pytest

from zs_env.metrics import contains_answer
from zs_env.search.types import SearchRequest
from zs_env.world import Chain, World, WorldEngine, WorldQuestions, parse_question

WORLD = World(0)
ENGINE = WorldEngine(WORLD)
ONE_HOP = WorldQuestions(WORLD, ["chain1"])[:150]
SENTENCES = {passage["text"] for passage in WORLD.passages()}


def page_for(question, query, useful, seed=1):
    request = SearchRequest(query, question.text, question.answers, useful, seed)
    return ENGINE.search([request])[0]


def query_of(question):
    chain = parse_question(question.text)
    assert isinstance(chain, Chain)
    return f"{chain.relations[0]} of {chain.start}"


def test_a_useful_page_has_the_requested_fact_and_a_noisy_page_never_has():
    for question in ONE_HOP:
        useful = page_for(question, query_of(question), (True,) * 5)
        noisy = page_for(question, query_of(question), (False,) * 5)
        assert any(contains_answer(d.text, question.answers) for d in useful.documents)
        assert not any(contains_answer(d.text, question.answers) for d in noisy.documents)


@pytest.mark.parametrize("flags", [(True, False, False), (False, False, True), (False, True)])
def test_each_document_follows_its_own_flag(flags):
    for question in ONE_HOP:
        page = page_for(question, query_of(question), flags)
        assert [document.useful for document in page.documents] == list(flags)
        holding = [contains_answer(d.text, question.answers) for d in page.documents]
        assert any(holding)
        assert all(flag for flag, holds in zip(flags, holding, strict=True) if holds)


def test_noise_hides_intermediate_facts_too():
    for question in WorldQuestions(WORLD, ["chain2"])[:100]:
        fact = next(
            fact
            for fact in WORLD.facts
            if f"the {fact.relation.name} of {fact.subject.name}?" in question.text
            or f"the {fact.relation.name} of {fact.subject.alias}?" in question.text
        )
        page = page_for(question, f"{fact.relation.name} of {fact.subject.name}", (False,) * 5)
        sentences = {fact.sentence(name) for name in fact.subject.names} | {fact.inverse_sentence()}
        assert not sentences & {document.text for document in page.documents}


def test_every_sentence_is_true_and_occurs_once_on_a_page():
    for question in ONE_HOP:
        for query in (query_of(question), "Vel Toran", "", "birthplace", "\ud800 <search>"):
            for flags in ((True,) * 5, (False,) * 5, (True, False) * 3):
                texts = [d.text for d in page_for(question, query, flags).documents]
                assert len(texts) == len(flags) == len(set(texts))
                assert set(texts) <= SENTENCES


def test_a_query_without_a_name_finds_no_requested_fact():
    question = ONE_HOP[0]
    found = sum(
        contains_answer(d.text, question.answers)
        for seed in range(50)
        for d in page_for(question, "the answer please", (True,) * 5, seed).documents
    )
    assert found <= 5


def test_the_page_depends_on_the_request_alone():
    request = SearchRequest(query_of(ONE_HOP[3]), None, None, (True, False, True), 77)
    alone = ENGINE.search([request])
    in_a_batch = WorldEngine(World(0)).search([page_request(5), request, page_request(6)])
    assert alone[0] == in_a_batch[1]
    assert ENGINE.search([request]) == alone


def page_request(seed):
    return SearchRequest(query_of(ONE_HOP[seed]), None, None, (True,) * 5, seed)


def test_answers_that_occur_in_every_sentence_give_a_short_page():
    request = SearchRequest("anything", "q", ("is",), (False,) * 5, 0)
    assert ENGINE.search([request])[0].documents == ()


def test_an_alias_finds_the_facts_of_its_entity():
    fact = next(fact for fact in WORLD.facts if fact.subject.alias)
    request = SearchRequest(
        f"{fact.relation.name} of {fact.subject.alias}", None, None, (True,) * 5, 3
    )
    texts = [document.text for document in ENGINE.search([request])[0].documents]
    assert fact.sentence(fact.subject.alias) in texts


def test_a_query_for_an_object_gives_sentences_about_it():
    fact = next(fact for fact in WORLD.facts if fact.relation.name == "author")
    request = SearchRequest(f"author {fact.object.name}", None, None, (True,) * 5, 3)
    sentences = [d.text for d in ENGINE.search([request])[0].documents]
    assert any(text.startswith(f"{fact.object.name} is the author of ") for text in sentences)


def test_a_page_flipped_twice_is_the_page_and_flipped_once_is_another():
    for question in ONE_HOP[:30]:
        for flags in ((True,) * 5, (False,) * 5, (True, False, False)):
            request = SearchRequest(
                query_of(question), question.text, question.answers, flags, seed=7
            )
            page, flipped, again = ENGINE.search(
                [request, request.flipped(), request.flipped().flipped()]
            )
            assert repr(again) == repr(page) != repr(flipped)
            assert [one.useful for one in flipped.documents] == [not flag for flag in flags]
