"""`~` in the paths of JSON specs and Python arguments."""

from contextlib import closing

import pytest

from zs_env.config import build_engine, build_questions, make_env
from zs_env.engines import BM25Engine, CachedEngine, MeteredEngine, ScriptedEngine
from zs_env.questions import load_questions_file
from zs_env.search.prices import PriceTable
from zs_env.search.types import SearchRequest
from zs_env.text.paths import expand_home, local_path
from zs_env.transcripts.storage import append_transcripts, load_transcripts

pytestmark = pytest.mark.usefixtures("home")

REQUEST = SearchRequest("capital", "What is the capital?", ("Oslo",), (None,), 0)
BM25 = {"kind": "bm25", "passages": "~/p.jsonl"}


def _titles(engine):
    return [document.title for document in engine.search([REQUEST])[0].documents]


def test_only_a_tilde_at_the_start_stands_for_the_home_folder(home):
    assert local_path("~/a/b") == home / "a/b"
    assert expand_home("~") == str(home)
    for name in ("a/~/b", "Qwen/Qwen3-4B", "./a", "~no-such-user/a", "module:Class", ""):
        assert expand_home(name) == name


@pytest.mark.parametrize(
    "questions",
    [
        "~/q.jsonl",
        {"kind": "file", "path": "~/q.jsonl"},
        {"kind": "file", "path": ["~/q.jsonl"]},
        {"kind": "subset", "of": {"kind": "file", "path": "~/q.jsonl"}, "ids": ["q:1"]},
    ],
)
def test_questions_are_read_from_the_home_folder(questions):
    assert build_questions(questions)[0].answers == ("Oslo",)


@pytest.mark.parametrize(
    "engine",
    [
        "~/p.jsonl",
        BM25,
        {**BM25, "index": "~/deep/index"},
        {"kind": "cache", "path": "~/pages.sqlite", "engine": BM25},
        {"kind": "metered", "path": "~/ledger.jsonl", "engine": BM25},
        {"kind": "mixture", "engines": [BM25, BM25], "weights": [0.5, 0.5]},
    ],
)
def test_engines_read_and_write_in_the_home_folder(engine):
    env = make_env("~/q.jsonl", engine)
    env.reset(seed=0)
    observation, *_ = env.step("<search>capital</search>")
    assert "Oslo is the capital." in observation["message"]
    env.close()


def test_arguments_of_classes_and_functions(home):
    assert load_questions_file("~/q.jsonl")[0].id == "q:1"
    assert _titles(BM25Engine("~/p.jsonl", "~/index")) == ["Oslo"]
    engine = MeteredEngine(ScriptedEngine({}), prices=PriceTable(call=1), path="~/spent.jsonl")
    engine.search([REQUEST])
    with closing(CachedEngine(BM25Engine("~/p.jsonl"), "~/pages.sqlite")) as cached:
        assert _titles(cached) == ["Oslo"]
    append_transcripts("~/transcripts.jsonl", [])
    assert load_transcripts("~/transcripts.jsonl") == []
    written = {path.name for path in home.iterdir()}
    assert written >= {"index", "pages.sqlite", "transcripts.jsonl"}


def test_engine_built_from_a_text():
    questions = build_questions("~/q.jsonl")
    assert _titles(build_engine("~/p.jsonl", questions)) == ["Oslo"]
