"""The fictional world: its names, facts and corpus."""

import pytest

from zs_env.world import World
from zs_env.world.names import NAME_PARTS
from zs_env.world.relations import RELATIONS


@pytest.mark.parametrize(("train_seed", "heldout_seed"), [(0, 0), (0, 7), (3, 1)])
def test_train_and_heldout_worlds_share_no_name_and_no_alias(train_seed, heldout_seed):
    train, heldout = World(train_seed), World(heldout_seed, "heldout")
    assert not train.named.keys() & heldout.named.keys()


def test_names_and_aliases_are_unique_in_their_world():
    world = World(4)
    entities = [e for kind, found in world.entities.items() if kind != "year" for e in found]
    names = [name for entity in entities for name in entity.names]
    assert len(names) == len(set(names)) == len(world.named)
    assert any(entity.alias for entity in entities)


def test_every_name_has_two_parts_of_the_stock():
    parts = {part for stock in NAME_PARTS.values() for side in stock for part in side}
    assert sum(len(side) for stock in NAME_PARTS.values() for side in stock) == len(parts)
    for name in World(5, "heldout").named:
        first, last = name.split()
        assert first.title() in parts and last.title() in parts


def test_a_relation_gives_each_subject_one_object_of_its_kind():
    world = World(1)
    seen = set()
    for fact in world.facts:
        assert (fact.subject, fact.relation.name) not in seen
        seen.add((fact.subject, fact.relation.name))
        assert fact.subject.kind == fact.relation.subject
        assert fact.object.kind == fact.relation.object
        assert fact.subject is not fact.object


def test_there_are_twenty_relations_or_more_and_all_occur():
    assert len({relation.name for relation in RELATIONS}) >= 20
    assert {fact.relation.name for fact in World(0).facts} == {r.name for r in RELATIONS}


def test_equal_seeds_make_equal_worlds_and_unequal_seeds_unequal_ones():
    assert World(2).facts == World(2).facts
    assert World(2).facts != World(3).facts


def test_the_corpus_has_each_fact_for_each_name_and_for_its_object():
    world = World(0)
    passages = world.passages()
    texts = {passage["text"] for passage in passages}
    assert len({passage["id"] for passage in passages}) == len(passages) == len(texts)
    for fact in world.facts:
        assert {fact.sentence(name) for name in fact.subject.names} <= texts
        assert (fact.inverse_sentence() in texts) == (fact.object.kind != "year")


def test_a_sentence_uses_the_given_name():
    fact = next(fact for fact in World(0).facts if fact.subject.alias)
    start, end = f"The {fact.relation.name} of ", f" is {fact.object.name}."
    assert fact.sentence() == start + fact.subject.name + end
    assert fact.sentence(fact.subject.alias) == start + fact.subject.alias + end


def test_an_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="'train', 'heldout'"):
        World(0, "test")  # type: ignore[arg-type]
