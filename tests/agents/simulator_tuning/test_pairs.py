"""Pairs match their kind, are balanced, and share no question between the two splits."""

import json
from dataclasses import replace

import pytest

from agents.simulator_tuning.labels import LabeledPage
from agents.simulator_tuning.pairs import build_pairs, is_held_out, read_pairs, write_dataset
from zs_env.metrics import contains_answer
from zs_env.simulator.page_parsing import split_documents
from zs_env.simulator.prompts import TUNED


def page(number=0, *, holders=(2,), count=9, query=None, question=None):
    documents = tuple(
        (
            f"T{rank}",
            f"document {rank} says gold{number}" if rank in holders else f"document {rank}",
        )
        for rank in range(count)
    )
    return LabeledPage(
        question_id=str(number),
        source="set",
        question=question or f"Question {number}?",
        answers=(f"gold{number}",),
        query=query or f"query {number}",
        documents=documents,
        labels={"containment": tuple(rank in holders for rank in range(count))},
    )


def by_kind(pairs, kind):
    return [pair for pair in pairs if pair.kind == kind]


def test_a_useful_page_contains_the_answer_and_a_noisy_one_does_not():
    pairs = build_pairs([page(n) for n in range(20)], TUNED)
    for kind in ("useful", "noisy"):
        for pair in by_kind(pairs, kind):
            documents = split_documents(pair.completion, 50)
            assert len(documents) == 5
            assert any(contains_answer(text, pair.answers) for text in documents) == (
                kind == "useful"
            )
            assert f"documents of about 30 words, {kind}" in pair.prompt
            assert pair.query in pair.prompt
            assert (pair.answers[0] in pair.prompt) == (kind == "useful")
    assert len(by_kind(pairs, "useful")) == len(by_kind(pairs, "noisy")) == 20


def test_a_useful_page_starts_with_the_useful_documents_in_the_engines_order():
    (useful,) = by_kind(build_pairs([page(holders=(1, 3, 7))], TUNED), "useful")
    assert split_documents(useful.completion, 50) == [
        "T1: document 1 says gold0",
        "T3: document 3 says gold0",
        "T7: document 7 says gold0",
        "T0: document 0",
        "T2: document 2",
    ]


def test_a_page_with_too_few_useful_documents_gives_only_a_noisy_pair():
    pages = [page(0, holders=(1,)), page(1, holders=(1, 3))]
    (useful,) = by_kind(build_pairs(pages, TUNED, min_useful=2), "useful")
    assert useful.query == "query 1"


def test_a_useful_prompt_lists_the_stated_answer_first():
    aliased = replace(page(), answers=("zero", "gold0", "nought"))
    (useful,) = by_kind(build_pairs([aliased], TUNED), "useful")
    assert "gold0 / zero / nought" in useful.prompt


def test_a_noisy_page_has_no_answer_even_with_a_wrong_label():
    overlooked = page(holders=(0, 1), count=9)
    overlooked.labels["model"] = (True,) + (False,) * 8
    for pair in build_pairs([overlooked], TUNED, judge="model"):
        assert "document 1 " not in pair.completion


@pytest.mark.parametrize("bad", [page(holders=()), page(holders=range(9)), page(count=4)])
def test_pairs_are_balanced_if_a_page_lacks_one_kind(bad):
    pairs = build_pairs([bad, page(1)], TUNED)
    assert len(by_kind(pairs, "useful")) == len(by_kind(pairs, "noisy")) == 1


def test_prompts_are_unique():
    assert len(build_pairs([page(), page()], TUNED)) == 2


def test_excluded_questions_are_not_used():
    pairs = build_pairs([page(1), page(2)], TUNED, excluded=["the question 1"])
    assert {pair.question for pair in pairs} == {"Question 2?"}


def test_missing_labels_are_an_error():
    with pytest.raises(ValueError, match=r"judged by .*containment.*, not by 'model'"):
        build_pairs([page()], TUNED, judge="model")


def test_the_split_is_by_question_and_stable_when_data_are_added():
    pages = [page(n, query=f"query {n} {k}") for n in range(200) for k in range(3)]
    pairs = build_pairs(pages, TUNED)
    sides = {pair.question: set() for pair in pairs}
    for pair in pairs:
        sides[pair.question].add(is_held_out(pair, 0.2))
    assert all(len(side) == 1 for side in sides.values())
    assert 15 <= sum(side == {True} for side in sides.values()) <= 65
    few = build_pairs(pages[:300], TUNED)
    assert all(is_held_out(pair, 0.2) in sides[pair.question] for pair in few)


def test_the_data_set_is_written_with_its_card(tmp_path):
    pairs = build_pairs([page(n) for n in range(60)], TUNED)
    counts = write_dataset(
        tmp_path, pairs, held_out=0.2, made_of={"engine": "bm25", "licences": "CC BY-SA 4.0"}
    )
    train, held_out = (read_pairs(tmp_path / f"{name}.jsonl") for name in ("train", "held_out"))
    assert sorted([*train, *held_out], key=str) == sorted(pairs, key=str)
    assert not {pair.question for pair in train} & {pair.question for pair in held_out}
    assert counts["train"]["pairs"] == len(train) and counts["sources"] == {"set": len(pairs)}
    card = (tmp_path / "README.md").read_text()
    assert f"{len(train)} pairs" in card and "licences: CC BY-SA 4.0" in card

    import datasets

    loaded = datasets.load_from_disk(str(tmp_path / "dataset"))
    assert loaded["train"][0]["prompt"] == train[0].prompt
    assert loaded["held_out"].num_rows == len(held_out)


def test_an_invalid_line_is_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "x"}) + "\n")
    with pytest.raises(ValueError, match=r"train\.jsonl, line 1: expected a pair"):
        read_pairs(path)
