"""Environments from JSON values."""

import json
import sys

import pytest

from zs_env import Question
from zs_env.config import (
    build_engine,
    build_questions,
    make_env,
    make_vector_env,
)
from zs_env.engines import BM25Engine, CachedEngine, MixtureEngine, ParagraphEngine
from zs_env.world import WorldEngine, WorldQuestions

WORLD = {"kind": "world", "seed": 3, "split": "heldout"}


@pytest.fixture
def question_file(tmp_path):
    path = tmp_path / "questions.jsonl"
    paragraphs = [
        {"title": "Ada", "text": "Ada wrote the program.", "is_gold": True},
        {"title": "Bob", "text": "Bob wrote a book.", "is_gold": False},
    ]
    row = {"id": "a", "question": "Who wrote the program?", "answers": ["Ada"]}
    path.write_text(json.dumps(row | {"paragraphs": paragraphs}) + "\n")
    return path


def page_of(engine, question):
    env = make_env([question], engine, num_documents=2)
    env.reset(seed=0)
    return env.step("<search>wrote program</search>")[0]["documents"]


def test_a_world_comes_with_its_engine():
    env = make_env(WORLD)
    env.reset(seed=0)
    assert env.transcript().question.id.startswith("world-heldout-3-")
    questions = build_questions(WORLD)
    assert isinstance(questions, WorldQuestions)
    engine = build_engine({"kind": "world"}, questions)
    assert isinstance(engine, WorldEngine)
    assert engine.world is questions.world


def test_worlds_are_made_once():
    assert build_questions(WORLD).world is build_questions(dict(WORLD)).world


def test_structures_are_selected_by_the_spec():
    questions = build_questions(WORLD | {"structures": ["comparison"]})
    assert {questions[n].metadata["structure"] for n in range(20)} == {"comparison"}


def test_files_paragraphs_and_bm25_are_built(question_file):
    questions = build_questions({"kind": "file", "path": str(question_file)})
    assert questions[0].answers == ("Ada",)
    engine = build_engine({"kind": "paragraphs"}, questions)
    assert isinstance(engine, ParagraphEngine)
    assert "Ada. Ada wrote the program." in page_of(engine, questions[0])
    passages = question_file.with_name("passages.jsonl")
    passages.write_text('{"id": "1", "title": "T", "text": "who wrote the program"}\n')
    bm25 = build_engine({"kind": "bm25", "passages": str(passages)}, questions)
    assert isinstance(bm25, BM25Engine)
    assert page_of(bm25, questions[0])[0] == "T. who wrote the program"


def test_bm25_without_passages_searches_the_world_of_the_questions():
    questions = build_questions(WORLD)
    engine = build_engine({"kind": "bm25"}, questions)
    fact = questions.world.facts[0]
    env = make_env(questions, engine)
    env.reset(seed=0)
    observation, *_ = env.step(f"<search>{fact.relation.name} {fact.subject.name}</search>")
    assert any(fact.subject.name in text for text in observation["documents"])


def test_scripts_mixtures_caches_and_no_engine_are_built(tmp_path):
    question = Question(id="q", text="Q?", answers=("x",))
    one = {"kind": "scripted", "script": {"wrote program": ["first", "second"]}}
    assert page_of(build_engine(one, [question]), question) == ("first", "second")
    other = {"kind": "scripted", "script": {}, "default": ["third"]}
    mixed = build_engine(
        {"kind": "mixture", "engines": [one, other], "weights": [0, 1]}, [question]
    )
    assert isinstance(mixed, MixtureEngine)
    assert page_of(mixed, question) == ("third", "")
    path = str(tmp_path / "pages.sqlite")
    cache = {"kind": "cache", "engine": one, "path": path, "mode": "record"}
    recorded = build_engine(cache, [question])
    assert isinstance(recorded, CachedEngine)
    assert page_of(recorded, question) == ("first", "second")
    recorded.close()
    replay = build_engine({"kind": "cache", "path": path, "mode": "replay"}, [question])
    assert page_of(replay, question) == ("first", "second")
    replay.close()
    assert page_of({"kind": "none"}, question) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engine": {"kind": "bm52"}}, "Did you mean 'bm25'"),
        ({"questions": {"kind": "word"}}, "Did you mean 'world'"),
        ({"questions": {"kind": "world", "splt": "train"}}, "Did you mean 'split'"),
        ({"questions": {"kind": "file", "path": None}}, "needs 'path'"),
        ({"questions": {}}, "needs a 'kind'"),
        ({"questions": {"kind": "file", "path": 5}}, r"got 5 \(int\) as a question file"),
        ({"questions": {"kind": "file", "path": ["a", 5]}}, r"got 5 \(int\) as a question file"),
        ({"engine": {"kind": "bm25", "passages": 5}}, r"got passages=5 \(int\)"),
        ({"engine": {"kind": "corpus", "passages": ["a"]}}, r"got passages=\['a'\] \(list\)"),
        ({"engine": {"kind": "bm25", "b": 5}}, r"BM25's b must be in \[0, 1\], got 5"),
        ({"engine": {"kind": "bm25", "k1": -1}}, "BM25's k1 must be at least 0, got -1"),
        ({"engine": {"kind": "hybrid", "engines": "bm25"}}, "engines='bm25', expected a list"),
        ({"engine": {"kind": "corpus", "retriever": 5}}, "got 5 as engine, expected a spec"),
        ({"engine": {"kind": "paragraphs", "depth": 5}}, "'paragraphs': 'depth'.* Known: none"),
        ({"engine": {"kind": "simulator"}}, r"needs 'generator', got {'kind': 'simulator'}"),
        ({"max_turn": 3}, "Did you mean 'max_turns'"),
        ({"limits": {"max_promt_chars": 3}}, "Did you mean 'max_prompt_chars'"),
        ({"reward": "zero_search"}, "zerosearch"),
        ({"questions": [Question(id="q", text="Q?", answers=("x",))]}, "pass an engine"),
    ],
)
def test_errors_suggest_a_fix(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_env(**arguments)


def test_a_path_in_place_of_a_kind_is_an_error_with_the_spec_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("A note.")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r'write {"kind": "bm25", "passages": "notes\.txt"}'):
        make_env(engine="notes.txt")
    with pytest.raises(ValueError, match=r'write {"kind": "file", "path": "notes\.txt"}'):
        make_env("notes.txt")
    with pytest.raises(ValueError, match=r"'folder' is a folder .* pass a file of questions"):
        make_env("folder")


@pytest.mark.parametrize(
    ("reward", "terms"),
    [
        ('{"preset": "zerosearch", "terms": {"searches": -0.5}}', {"f1": 0.0, "searches": -0.5}),
        ("my_rewards:turns", {"turns": 2.0}),
        ("my_rewards:Turns", {"turns": 2.0}),
    ],
)
def test_texts_of_rewards(reward, terms, tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "def turns(transcript):\n    return {'turns': float(len(transcript.turns))}\n"
        "class Turns:\n    def __call__(self, transcript):\n        return turns(transcript)\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    env = make_env(WORLD, reward=reward)
    env.reset(seed=0)
    env.step("<search>x</search>")
    assert env.step("<answer>nobody</answer>")[-1]["reward_terms"] == terms
    for wrong in ("my_rewards:number", "my_rewards:missing"):
        with pytest.raises(ValueError, match="number"):
            make_env(WORLD, reward=wrong)
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)


def test_rewards_and_limits_are_json_values_too():
    env = make_env(WORLD, reward={"terms": {"f1": 1.0, "searches": -0.1}}, limits={})
    env.reset(seed=0)
    env.step("<search>x</search>")
    *_, reward, terminated, _, info = env.step("<answer>y</answer>")
    assert terminated
    assert info["reward_terms"] == {"f1": 0.0, "searches": pytest.approx(-0.1)}
    assert reward == pytest.approx(-0.1)
    assert make_env(WORLD, limits={"max_action_chars": 50}).action_space.max_length == 50


def test_a_passed_engine_is_not_closed():
    class Closing:
        closed = False

        def search(self, requests):
            raise NotImplementedError

        def close(self):
            self.closed = True

    engine = Closing()
    make_env(WORLD, engine).close()
    assert not engine.closed


def test_a_vector_environment_has_the_same_arguments():
    env = make_vector_env(2, WORLD, max_turns=3, reward="search_r1")
    single = make_env(WORLD, max_turns=3, reward="search_r1")
    assert env.reset(seed=4)[0]["question"][0] == single.reset(seed=4)[0]["question"]
