"""The kinds of noise of a fictional world: what a page states, and what it never states."""

from dataclasses import replace

import pytest

from zs_env.metrics import contains_answer, f1_score
from zs_env.noise import NOISE_KINDS
from zs_env.search.types import SearchRequest
from zs_env.text.injections import INJECTIONS
from zs_env.world import (
    STRUCTURES,
    Chain,
    Comparison,
    World,
    WorldEngine,
    WorldQuestions,
    parse_question,
)

WORLD = World(0)
ENGINE = WorldEngine(WORLD)
ONE_HOP = WorldQuestions(WORLD, ["chain1"])[:100]
OTHER_STRUCTURES = [one for one in STRUCTURES if one != "comparison"]
MIXED = WorldQuestions(WORLD, OTHER_STRUCTURES)[:100]
TRUE = {passage["text"] for passage in WORLD.passages()}
WRONG_KINDS = ("misleading", "conflicting")


def page(question, kind, useful=(False,) * 5, query=None, seed=1):
    query = question.text if query is None else query
    request = SearchRequest(query, question.text, question.answers, useful, seed, kind)
    return ENGINE.search([request])[0].documents


def chain_of(question):
    chain = parse_question(question.text)
    assert isinstance(chain, Chain)
    return chain


def kind_of(name):
    if name.isdigit():
        return "year"
    return WORLD.named[name.lower()].kind


@pytest.mark.parametrize("kind", [kind for kind in NOISE_KINDS if kind != "conflicting"])
def test_no_noisy_page_states_a_gold_answer(kind):
    for seed, question in enumerate([*ONE_HOP, *MIXED]):
        for document in page(question, kind, seed=seed):
            assert document.useful is False
            assert not contains_answer(document.text, question.answers)
            assert document.noise_kind in (kind, "irrelevant")


@pytest.mark.parametrize("num_useful", [0, 1])
@pytest.mark.parametrize("kind", [kind for kind in NOISE_KINDS if kind != "empty"])
def test_noise_names_both_sides_of_a_comparison_equally_often(kind, num_useful):
    useful = (True,) * num_useful + (False,) * 3
    named = {"gold": 0, "other": 0}
    for seed, question in enumerate(WorldQuestions(WORLD, ["comparison"])[:300]):
        parsed = parse_question(question.text)
        assert isinstance(parsed, Comparison)
        documents = page(question, kind, useful, seed=seed)
        assert {one.useful for one in documents[:num_useful]} <= {True}
        for name in parsed.names:
            side = "gold" if name in question.answers else "other"
            named[side] += any(contains_answer(one.text, [name]) for one in documents)
    # Within three standard deviations of the difference of two equal shares.
    assert min(named.values()) > 100
    assert abs(named["gold"] - named["other"]) < 3 * (2 * 300 / 4) ** 0.5


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_noise_does_not_depend_on_the_answer_of_a_comparison(kind):
    for seed, question in enumerate(WorldQuestions(WORLD, ["comparison"])[:300]):
        parsed = parse_question(question.text)
        assert isinstance(parsed, Comparison)
        assert question.answers[0] in parsed.names
        (other,) = set(parsed.names) - set(question.answers)
        names = WORLD.named[other.lower()].names
        swapped = replace(question, answers=tuple(sorted(names, key=lambda name: name != other)))
        assert page(question, kind, seed=seed) == page(swapped, kind, seed=seed)


@pytest.mark.parametrize("kind", ["irrelevant", "misleading", "injected"])
def test_no_query_gets_a_compared_fact_from_a_noisy_page(kind):
    for seed, question in enumerate(WorldQuestions(WORLD, ["comparison"])[:100]):
        parsed = parse_question(question.text)
        assert isinstance(parsed, Comparison)
        entities = [WORLD.named[name.lower()] for name in parsed.names]
        years = [
            (entity.names, fact.object.name)
            for entity in entities
            for fact in WORLD.facts_about[entity]
            if fact.relation.name == parsed.relation
        ]
        assert len(years) == 2
        for query in (*parsed.names, " ".join(parsed.names), question.text):
            search = SearchRequest(
                query, question.text, question.answers, (False,) * 5, seed, noise_kind=kind
            )
            documents = ENGINE.search([search])[0].documents
            opens = [
                replace(search, document=replace(one, rank=rank))
                for rank, one in enumerate(documents)
            ]
            shown = (*documents, *(one.documents[0] for one in ENGINE.open(opens)))
            assert len(shown) == 2 * len(documents) >= 8
            for names, year in years:
                stated = {f"The {parsed.relation} of {name} is {year}." for name in names}
                assert not any(one in document.text for document in shown for one in stated)


def test_a_misleading_page_states_the_requested_fact_with_a_wrong_object():
    for seed, question in enumerate(ONE_HOP):
        chain = chain_of(question)
        start = f"The {chain.relations[0]} of {chain.start} is "
        (false,) = [
            one for one in page(question, "misleading", seed=seed) if one.noise_kind != "irrelevant"
        ]
        assert false.text not in TRUE
        assert false.text.startswith(start)
        wrong = false.text.removeprefix(start).removesuffix(".")
        assert dict(false.metadata) == {"wrong_answer": wrong}
        assert kind_of(wrong) == kind_of(question.answers[0])
        assert f1_score(wrong, question.answers) == 0.0


def test_a_misleading_page_contradicts_an_intermediate_fact_too():
    for question in WorldQuestions(WORLD, ["chain2"])[:50]:
        chain = chain_of(question)
        query = f"{chain.relations[0]} of {chain.start}"
        false = [one for one in page(question, "misleading", query=query) if one.metadata]
        assert len(false) == 1
        assert false[0].text.startswith(f"The {query} is ")
        assert false[0].text not in TRUE


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_a_query_for_an_object_gets_a_wrong_subject(kind):
    fact = next(fact for fact in WORLD.facts if fact.relation.name == "author")
    request = SearchRequest(f"author {fact.object.name}", None, None, (False,) * 4, 3, kind)
    false = [one for one in ENGINE.search([request])[0].documents if one.metadata]
    assert false
    start = f"{fact.object.name} is the author of "
    assert any(one.text.startswith(start) and one.text not in TRUE for one in false)


def test_a_conflicting_page_states_the_answer_and_a_contradiction_at_random_ranks():
    ranks = set()
    for seed, question in enumerate(ONE_HOP):
        documents = page(question, "conflicting", seed=seed)
        assert len(documents) == 5
        true = [one for one in documents if one.useful]
        false = [one for one in documents if not one.useful]
        assert (len(true), len(false)) == (3, 2)
        assert {one.text for one in true} <= TRUE
        assert all(one.noise_kind is None for one in true)
        assert not TRUE & {one.text for one in false}
        assert {one.noise_kind for one in false} == {"conflicting"}
        stating = [one for one in documents if contains_answer(one.text, question.answers)]
        assert stating and all(one.useful for one in stating)
        start = stating[0].text.rsplit(" is ", 1)[0]
        assert any(one.text.startswith(start) for one in false)
        ranks.add(documents.index(stating[0]))
    assert ranks == set(range(5))


def test_a_conflicting_page_with_one_noisy_document_is_misleading():
    for question in ONE_HOP[:20]:
        (document,) = page(question, "conflicting", (False,))
        assert document.noise_kind == "misleading"
        assert document.text not in TRUE


def test_an_injected_page_gives_instructions_with_a_wrong_answer_of_the_type():
    phrasings = {one.partition("{answer}")[0] for one in INJECTIONS}
    seen = set()
    for seed, question in enumerate(MIXED):
        documents = page(question, "injected", seed=seed)
        assert len(documents) == 5
        wrong = {dict(one.metadata)["wrong_answer"] for one in documents}
        assert len(wrong) == 1
        assert kind_of(wrong.pop()) == kind_of(question.answers[0])
        for one in documents:
            sentence, _, instruction = one.text.partition(". ")
            assert f"{sentence}." in TRUE
            (used,) = [start for start in phrasings if instruction.startswith(start)]
            seen.add(used)
    assert seen == phrasings


@pytest.mark.parametrize("flags", [(True, False, True, False), (False, True), (False,) * 3])
def test_an_empty_page_has_the_useful_documents_only(flags):
    for question in ONE_HOP[:20]:
        documents = page(question, "empty", flags)
        assert [one.useful for one in documents] == [True] * sum(flags)
        useful = page(question, "irrelevant", (True,) * sum(flags))
        assert [one.text for one in documents] == [one.text for one in useful]


@pytest.mark.parametrize("kind", ["misleading", "conflicting", "injected"])
def test_useful_documents_of_a_mixed_page_are_those_of_any_kind(kind):
    flags = (True, False, False, True, False)
    for question in ONE_HOP[:30]:
        plain, other = page(question, "irrelevant", flags), page(question, kind, flags)
        assert (plain[0], plain[3]) == (other[0], other[3])
        texts = [one.text for one in other]
        assert len(set(texts)) == len(texts) == 5


@pytest.mark.parametrize("kind", WRONG_KINDS)
@pytest.mark.parametrize("query", ["the answer please", "", "birthplace", "\ud800 <search>"])
def test_a_query_that_names_nothing_gets_irrelevant_noise_recorded_as_such(kind, query):
    for question in ONE_HOP[:20]:
        documents = page(question, kind, query=query)
        assert {one.noise_kind for one in documents} == {"irrelevant"}
        assert {one.text for one in documents} <= TRUE
        assert not any(contains_answer(one.text, question.answers) for one in documents)


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_equal_requests_give_equal_pages_in_any_batch(kind):
    asked = [
        SearchRequest(one.text, one.text, one.answers, (False,) * 5, seed, kind)
        for seed, one in enumerate(MIXED[:20])
    ]
    together = ENGINE.search(asked)
    assert together == [WorldEngine(World(0)).search([one])[0] for one in asked]
