import json
import random

import pytest

from zs_env.engines import BM25Engine
from zs_env.engines.retrieval.passage_file import read_passages
from zs_env.metrics import contains_answer
from zs_env.questions import load_questions_file
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.search.types import SearchRequest
from zs_env.world import World, WorldQuestions
from zs_env.world.sample_files import (
    question_with_paragraphs,
    supporting_facts,
    write_sample_files,
)

WITH_PARAGRAPHS = ("train", "dev", "test", "hotpotqa", "musique", "dpr", "flashrag")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_sample_files(folder)
    return folder


def _questions(folder, name):
    return load_questions_file(folder / f"{name}.jsonl")


@pytest.mark.parametrize("name", WITH_PARAGRAPHS)
def test_every_question_has_gold_paragraphs_and_distractors(folder, name):
    for question in _questions(folder, name):
        gold = [p for p in question.paragraphs if p.is_gold]
        distractors = [p for p in question.paragraphs if not p.is_gold]
        assert len(question.paragraphs) == 8
        assert 1 <= len(gold) <= 3
        if not question.is_yes_no:
            text = " ".join(f"{p.title}. {p.text}" for p in gold)
            assert contains_answer(text, question.answers)
            hidden = hidden_answers(question.text, question.answers)
            assert not any(contains_answer(f"{p.title}. {p.text}", hidden) for p in distractors)


def test_a_file_of_each_form_has_the_fields_of_its_data_set(folder):
    rows = {
        path.name: json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        for path in folder.iterdir()
    }
    assert isinstance(rows["hotpotqa.jsonl"]["context"][0], list)
    assert {"answer", "answer_aliases"} <= rows["musique.jsonl"].keys()
    assert {"positive_ctxs", "hard_negative_ctxs"} <= rows["dpr.jsonl"].keys()
    assert {"golden_answers", "metadata"} <= rows["flashrag.jsonl"].keys()
    assert rows["verl.jsonl"]["prompt"][0]["role"] == "user"
    assert rows["passages.search-r1.jsonl"].keys() == {"id", "contents"}


def test_the_files_have_aliases_and_yes_no_questions(folder):
    assert any(len(question.answers) > 1 for question in _questions(folder, "musique"))
    yes_no = [q for q in _questions(folder, "hotpotqa") if q.is_yes_no]
    assert {q.answers[0] for q in yes_no} == {"yes", "no"}


def test_no_question_is_in_two_files(folder):
    names = (*WITH_PARAGRAPHS, "plain", "verl")
    texts = [question.text for name in names for question in _questions(folder, name)]
    assert len(set(texts)) == len(texts)
    ids = [question.id for name in names for question in _questions(folder, name)]
    assert len(set(ids)) == len(ids)


def test_both_forms_of_passages_are_the_same_passages(folder):
    one, other = (
        list(read_passages(folder / name))
        for name in ("passages.jsonl", "passages.search-r1.jsonl")
    )
    assert one == other


def test_passages_answer_the_questions(folder):
    engine = BM25Engine.from_passages(
        [
            {"id": p.id, "title": p.title, "text": p.text}
            for p in read_passages(folder / "passages.jsonl")
        ]
    )
    for question in _questions(folder, "dev")[:20]:
        gold = [p for p in question.paragraphs if p.is_gold]
        requests = [
            SearchRequest(p.title, question.text, question.answers, (True,) * 3, 0) for p in gold
        ]
        for paragraph, page in zip(gold, engine.search(requests), strict=True):
            assert paragraph.title in [document.title for document in page.documents]


def test_supporting_facts_lead_from_the_question_to_the_answer():
    world = World(0, "train")
    questions = WorldQuestions(world, seed=3)
    for question in questions[:200]:
        facts = supporting_facts(question.text, world)
        names = facts[-1].object.names
        if question.metadata["structure"] in ("comparison", "intersection"):
            names = {name for fact in facts for name in fact.subject.names}
        assert set(question.answers) <= set(names)
        assert len(facts) == question.metadata["hops"]


def test_the_files_do_not_depend_on_earlier_draws(folder, tmp_path):
    random.random()
    write_sample_files(tmp_path)
    write_sample_files(tmp_path)  # files with the same contents may exist
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_a_file_with_other_contents_is_not_replaced(tmp_path):
    (tmp_path / "passages.jsonl").write_text("mine")
    with pytest.raises(FileExistsError, match=r"passages\.jsonl exists"):
        write_sample_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["passages.jsonl"]


def test_paragraphs_are_shuffled_by_the_id_of_the_question():
    world = World(0, "train")
    question = WorldQuestions(world)[0]
    first = question_with_paragraphs(question, world)
    assert first == question_with_paragraphs(question, world)
    positions = {
        [p.is_gold for p in question_with_paragraphs(q, world).paragraphs].index(True)
        for q in WorldQuestions(world)[:50]
    }
    assert len(positions) > 4
