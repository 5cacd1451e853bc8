"""Samples: equal on every machine, and read as they were written."""

import json
from dataclasses import asdict, replace

import pytest

from agents.studies.benchmark.sample import Sample, read_samples
from zs_env import Question
from zs_env.world import World, WorldQuestions

QUESTIONS = [Question(id=f"q{n}", text=f"{n}?", answers=(str(n),)) for n in range(200)]


def test_a_sample_is_independent_of_order_and_a_prefix_of_larger_ones():
    sample = Sample.draw(QUESTIONS, 50, seed=0)
    assert len(set(sample.ids)) == 50
    assert sample == Sample.draw(QUESTIONS[::-1], 50, seed=0)
    assert sample.ids[:7] == Sample.draw(QUESTIONS, 7, seed=0).ids
    # Another seed shares 50 * 50 / 200 = 12.5 ids with it by chance, 3.1 standard deviation.
    assert len({*sample.ids} & {*Sample.draw(QUESTIONS, 50, seed=1).ids}) < 28


def test_the_sample_is_the_same_on_every_machine():
    assert Sample.draw(QUESTIONS, 5, seed=0).ids == ("q31", "q102", "q78", "q41", "q163")


def test_a_sample_can_contain_all_questions():
    for size in (None, 200, 500):
        assert sorted(Sample.draw(QUESTIONS, size, seed=3).ids) == sorted(q.id for q in QUESTIONS)


def test_the_digest_depends_on_texts_and_gold_answers():
    asked = QUESTIONS[:3]
    others = [
        [*asked[:2], replace(asked[2], text="else?")],
        [*asked[:2], replace(asked[2], answers=("2", "two"))],
        asked[::-1],
    ]
    assert len({Sample.of(some).digest for some in [asked, *others]}) == 4


def test_samples_are_read_as_they_were_written(tmp_path):
    samples = {"nq": Sample.draw(QUESTIONS, 5, seed=0), "mine": Sample.draw(QUESTIONS, 2, seed=1)}
    written = {name: asdict(sample) for name, sample in samples.items()}
    (tmp_path / "sample.json").write_text(json.dumps(written))
    assert read_samples(tmp_path / "sample.json") == samples


def test_a_sample_can_be_written_by_hand(tmp_path):
    path = tmp_path / "sample.json"
    path.write_text(json.dumps({"nq": ["a", "b"]}))
    assert read_samples(path) == {"nq": Sample(ids=("a", "b"))}


@pytest.mark.parametrize("text", ["{", "[]", '{"nq": []}', '{"nq": {"id": "a"}}', '{"nq": [1]}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "sample.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"sample\.json"):
        read_samples(path)


def test_unsuitable_sets_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Sample.draw(QUESTIONS, 0, seed=0)
    with pytest.raises(ValueError, match="into a file"):
        Sample.draw(WorldQuestions(World(0, "train")), 10, seed=0)
