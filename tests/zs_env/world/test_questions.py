"""The fictional world's questions."""

from collections import Counter

import pytest

from zs_env.world import (
    DEFAULT_MIX,
    STRUCTURES,
    Chain,
    Comparison,
    Intersection,
    World,
    WorldQuestions,
    parse_question,
)

WORLD = World(0)


def solve(question, world):
    """Answer from the facts, independently of how questions are made."""
    parsed = parse_question(question.text)
    facts = {(name, f.relation.name): f.object for f in world.facts for name in f.subject.names}
    if isinstance(parsed, Chain):
        name = parsed.start
        for relation in parsed.relations:
            name = facts[name, relation].name
        return {name}
    if isinstance(parsed, Comparison):
        years = {name: int(facts[name, parsed.relation].name) for name in parsed.names}
        wanted = min(years.values()) if parsed.earlier else max(years.values())
        return {name for name, year in years.items() if year == wanted}
    (r1, o1), (r2, o2) = parsed.conditions
    one = {f.subject.name for f in world.facts if (f.relation.name, f.object.name) == (r1, o1)}
    other = {f.subject.name for f in world.facts if (f.relation.name, f.object.name) == (r2, o2)}
    return one & other


def test_every_question_has_exactly_the_answer_that_the_facts_give():
    for question in WorldQuestions(WORLD)[:400]:
        solution = solve(question, WORLD)
        assert len(solution) == 1
        assert solution <= set(question.answers)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_single_structure_can_be_selected(structure):
    kinds = {"comparison": Comparison, "intersection": Intersection}
    for question in WorldQuestions(WORLD, [structure])[:50]:
        assert question.metadata["structure"] == structure
        parsed = parse_question(question.text)
        assert isinstance(parsed, kinds.get(structure, Chain))
        if isinstance(parsed, Chain):
            assert len(parsed.relations) == question.metadata["hops"] == int(structure[-1])


def test_the_default_mix_has_the_documented_shares():
    counts = Counter(q.metadata["structure"] for q in WorldQuestions(WORLD)[:2000])
    for structure, share in DEFAULT_MIX.items():
        assert abs(counts[structure] / 2000 - share) < 0.04  # four standard errors
    assert sum(share for s, share in DEFAULT_MIX.items() if s != "chain1") > 1 / 3


def test_an_index_always_gives_the_same_question_and_another_seed_others():
    assert WorldQuestions(WORLD)[12345] == WorldQuestions(World(0))[12345]
    assert WorldQuestions(WORLD, seed=1)[0].text != WorldQuestions(WORLD)[0].text
    assert WorldQuestions(WORLD)[-1].id.endswith(str(2**31 - 1))
    with pytest.raises(IndexError):
        WorldQuestions(WORLD)[2**31]


def test_aliases_count_as_answers_and_are_used_in_questions():
    questions = WorldQuestions(WORLD)[:400]
    assert any(len(question.answers) == 2 for question in questions)
    aliases = {e.alias for found in WORLD.entities.values() for e in found if e.alias}
    assert any(alias in question.text for question in questions for alias in aliases)


@pytest.mark.parametrize(
    "structures", [["chain4"], {}, {"chain1": -1.0, "chain2": 2.0}, {"chain1": 0.0}]
)
def test_an_invalid_mix_is_an_error(structures):
    with pytest.raises(ValueError, match="chain1"):
        WorldQuestions(WORLD, structures)


@pytest.mark.parametrize(
    "text", ["", "Who wrote Faust?", "What is the capital of Atlantis", "Who is the mayor?"]
)
def test_other_questions_do_not_parse(text):
    with pytest.raises(ValueError, match="fictional world"):
        parse_question(text)
