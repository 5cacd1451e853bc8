"""BM25 scores by hand, ties by corpus order, and no outdated or incomplete index."""

import gzip
import json
import multiprocessing
import pickle
import sys
from math import log

import numpy as np
import pytest

from tests.paths import SHARED_DATA
from zs_env.config import build_engine
from zs_env.engines import BM25Engine
from zs_env.search.types import SearchRequest
from zs_env.text.words import content_words

pytest.importorskip("bm25s")

CORPUS = SHARED_DATA / "corpus/wiki_corpus.passages.jsonl.gz"
PASSAGES = [
    {"id": "a", "title": "Oslo", "text": "capital Norway fjord"},
    {"id": "b", "title": "Rome", "text": "capital Italy Tiber"},
    {"id": "c", "title": "Fjord", "text": "fjord fjord glacier ice"},
]


def _request(query, count=5):
    return SearchRequest(query, None, None, (True,) * count, 0)


def _found(engine, query, count=5):
    documents = engine.search([_request(query, count)])[0].documents
    return [dict(document.metadata)["passage_id"] for document in documents]


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_scores_are_those_of_the_formula():
    # fjord: in 2 of 3 passages; lengths 4, 4, 5. Lucene: idf = ln(1 + (N - n + .5)/(n + .5)).
    idf = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = 13 / 3
    expected = {
        "c": idf * 3 / (3 + 1.2 * (1 - 0.75 + 0.75 * 5 / mean)),
        "a": idf * 1 / (1 + 1.2 * (1 - 0.75 + 0.75 * 4 / mean)),
    }
    page = BM25Engine.from_passages(PASSAGES).search([_request("fjord")])[0]
    scores = {dict(d.metadata)["passage_id"]: dict(d.metadata)["score"] for d in page.documents}
    assert list(scores) == ["c", "a"]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_of_equal_scores_the_first_passage_wins():
    twins = [{"id": str(n), "text": "twin words here"} for n in range(600)]
    engine = BM25Engine.from_passages([*twins, {"id": "best", "text": "twin twin"}])
    assert _found(engine, "twin", 4) == ["best", "0", "1", "2"]


def test_the_order_of_the_words_does_not_matter():
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 40, 12)) for _ in range(300)]
    engine = BM25Engine.from_passages([{"text": text} for text in texts])
    words = [f"w{n}" for n in range(8)]
    pages = {tuple(_found(engine, " ".join(generator.permutation(words)), 9)) for _ in range(20)}
    assert len(pages) == 1


def test_the_best_of_many_blocks_are_the_best_of_all():
    generator = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 60, 9)) for _ in range(2000)]
    engine = BM25Engine.from_passages([{"text": text} for text in texts])
    for query in ("w1", "w2 w3", "w4 w5 w6 w7 w8 w9"):
        everything = _found(engine, query, 2000)
        words = set(content_words(query))
        assert len(everything) == sum(bool(words & set(text.split())) for text in texts)
        for count in (1, 5, 8, 9, 100):
            assert _found(engine, query, count) == everything[:count]


@pytest.mark.parametrize("query", ["", "the of", "?!", "zzzz", "\x00\ud800", "🚁" * 100])
def test_a_query_without_known_words_finds_nothing(query):
    assert _found(BM25Engine.from_passages(PASSAGES), query) == []


def test_more_documents_than_passages_are_not_invented():
    assert _found(BM25Engine.from_passages(PASSAGES), "capital fjord", 50) == ["a", "c", "b"]


def test_a_batch_gives_what_single_requests_give():
    engine = BM25Engine.from_passages(PASSAGES)
    requests = [_request("fjord", 1), _request("capital"), _request("fjord"), _request("nothing")]
    assert engine.search(requests) == [engine.search([request])[0] for request in requests]
    assert engine.search([]) == []


def test_passages_without_words_are_refused():
    with pytest.raises(ValueError, match="no passage contains a word"):
        BM25Engine.from_passages([{"text": "?!"}])


@pytest.mark.parametrize("form", ["plain", "gzip", "parquet"])
def test_a_file_gives_what_the_passages_in_memory_give(tmp_path, form):
    path = tmp_path / "corpus"
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow = pytest.importorskip("pyarrow")
        parquet.write_table(pyarrow.Table.from_pylist(PASSAGES), path)
    else:
        _write(path, PASSAGES)
        if form == "gzip":
            path.write_bytes(gzip.compress(path.read_bytes()))
    built = BM25Engine(path)
    opened = BM25Engine(path)
    memory = BM25Engine.from_passages(PASSAGES)
    requests = [_request("fjord"), _request("capital Norway"), _request("xyzzy")]
    assert built.search(requests) == opened.search(requests) == memory.search(requests)
    assert built.fingerprint == opened.fingerprint
    assert (tmp_path / "corpus.bm25").is_dir()


def test_an_index_is_read_and_not_built_again(tmp_path, monkeypatch):
    path = _write(tmp_path / "corpus.jsonl", PASSAGES)
    BM25Engine(path, tmp_path / "deep" / "index")
    monkeypatch.setitem(sys.modules, "bm25s", None)  # building would need it
    assert _found(BM25Engine(path, tmp_path / "deep" / "index"), "Tiber") == ["b"]
    with pytest.raises(ImportError, match=r"zerosearch-gym\[retrieval\]"):
        BM25Engine(path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_index_never_answers_for_another_corpus_or_setting(tmp_path):
    path = _write(tmp_path / "corpus.jsonl", PASSAGES)
    old = BM25Engine(path)
    _write(path, [{"id": "new", "text": "Tiber"}, *PASSAGES[:1]])
    new = BM25Engine(path)
    assert _found(new, "Tiber") == ["new"]
    assert _found(old, "Tiber") == ["b"]  # an engine that is open keeps its files
    assert new.fingerprint != old.fingerprint
    assert BM25Engine(path, b=0.5).fingerprint != new.fingerprint


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    path = _write(tmp_path / "corpus.jsonl", [*PASSAGES, {"id": "d", "title": "no text"}])
    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 4, field 'text': got None"):
        BM25Engine(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_folder_of_other_files_is_not_taken(tmp_path):
    path = _write(tmp_path / "corpus.jsonl", PASSAGES)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(ValueError, match="has files that are not an index"):
        BM25Engine(path, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_the_contents_form_has_its_title_on_the_first_line(tmp_path):
    row = {"id": 7, "contents": '"Oslo"\ncapital Norway'}
    engine = BM25Engine(_write(tmp_path / "corpus.jsonl", [row]))
    document = engine.search([_request("Norway")])[0].documents[0]
    assert (document.title, document.text) == ("Oslo", "capital Norway")
    assert dict(document.metadata)["passage_id"] == "7"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl does not exist"):
        BM25Engine(tmp_path / "nowhere.jsonl")


def test_a_copy_for_another_process_maps_the_files_instead_of_carrying_them(tmp_path):
    rows = [{"text": f"word{n} " * 50} for n in range(200)]
    engine = BM25Engine(_write(tmp_path / "corpus.jsonl", rows))
    packed = pickle.dumps(engine)
    assert len(packed) < 2000
    requests = [_request("word7")]
    assert pickle.loads(packed).search(requests) == engine.search(requests)
    memory = BM25Engine.from_passages(rows)
    assert pickle.loads(pickle.dumps(memory)).search(requests) == memory.search(requests)


def _build(arguments):
    return _found(BM25Engine(*arguments), "Tiber")


def test_processes_that_build_at_once_all_get_a_whole_index(tmp_path):
    path = _write(tmp_path / "corpus.jsonl", PASSAGES)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_build, [(path, tmp_path / "index")] * 3) == [["b"]] * 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["corpus.jsonl", "index"]


@pytest.mark.skipif(not CORPUS.is_file(), reason="the real corpus is not here")
def test_the_head_of_a_real_corpus_is_found_by_its_titles(tmp_path):
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(next(lines)) for _ in range(2000)]
    engine = BM25Engine(_write(tmp_path / "corpus.jsonl", rows))
    pages = engine.search([_request(row["title"]) for row in rows])
    hits = sum(
        any(document.title == row["title"] for document in page.documents)
        for page, row in zip(pages, rows, strict=True)
    )
    assert hits > 0.9 * len(rows)


def test_a_folder_of_texts_is_a_passage_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes/north").mkdir(parents=True)
    (tmp_path / "notes/Oslo.txt").write_text("\ufeffThe capital of Norway.", encoding="utf-8")
    (tmp_path / "notes/north/Bodø.MD").write_text("A port.\n\nIt has a cathedral.\n")
    (tmp_path / "notes/empty.txt").write_text("\n")
    (tmp_path / "notes/picture.png").write_bytes(b"\xff")

    def first(engine, query):
        (page,) = engine.search([SearchRequest(query, "q", (), (True, True), 0)])
        return page.documents[0].title, page.documents[0].text

    for spec in ("notes/", "./notes", {"kind": "bm25", "passages": "notes"}):
        engine = build_engine(spec, ())
        assert first(engine, "capital") == ("Oslo", "The capital of Norway.")
    before = engine.fingerprint
    (tmp_path / "notes/north/Bodø.MD").write_text("A port.\n\nIt has a cathedra!.\n")
    changed = build_engine("./notes", ())
    assert changed.fingerprint != before
    assert first(changed, "port") == ("Bodø", "A port.\n\nIt has a cathedra!.")
    with pytest.raises(ValueError, match=r"'notes' is a folder .* write ./notes"):
        build_engine("notes", ())
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.txt or \.md file; pass"):
        build_engine("./pictures", ())
    (tmp_path / "pictures/a.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8"):
        build_engine("./pictures", ())
