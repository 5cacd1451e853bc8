"""Reciprocal rank fusion by hand."""

import pytest

from zs_env.config import build_engine
from zs_env.engines import BM25Engine, HybridEngine
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest


class Ranking(SearchEngine):
    query_only = True
    in_process = True

    def __init__(self, *texts):
        self.texts, self.asked, self.closed = texts, [], False
        self.fingerprint = f"ranking:{texts}"

    def search(self, requests):
        self.asked += requests
        return [
            SearchPage(
                tuple(Document(text) for text in self.texts[: len(request.useful)]),
                SearchCost(calls=1, seconds=0.5),
            )
            for request in requests
        ]

    def close(self):
        self.closed = True


def request(query="q", count=3):
    return SearchRequest(query, None, None, (True,) * count, 0)


def texts(page):
    return [document.text for document in page.documents]


def test_ranks_are_fused():
    # a: 1/61 + 1/63, b: 1/62 + 1/61, c: 1/63, d: 1/62; so b, a, d, c.
    hybrid = HybridEngine([Ranking("a", "b", "c"), Ranking("b", "d", "a")], depth=3)
    (page,) = hybrid.search([request(count=4)])
    assert texts(page) == ["b", "a", "d", "c"]
    assert (page.cost.calls, page.cost.seconds, page.engine) == (2, 1.0, "hybrid")


def test_weights_decide():
    # a: 3/61, b: 3/62 + 1/61; c: 1/62. b wins even so; at weight 100 the order of the first holds.
    rankings = [Ranking("a", "b"), Ranking("b", "c")]
    assert texts(HybridEngine(rankings, [3, 1]).search([request()])[0]) == ["b", "a", "c"]
    assert texts(HybridEngine(rankings, [100, 1]).search([request()])[0]) == ["a", "b", "c"]


def test_of_equal_scores_the_earlier_engine_wins():
    hybrid = HybridEngine([Ranking("a"), Ranking("b")])
    assert texts(hybrid.search([request(count=1)])[0]) == ["a"]


def test_engines_are_asked_deep_and_once():
    one, other = Ranking(*"abcdef"), Ranking(*"fedcba")
    pages = HybridEngine([one, other], depth=5).search([request("x", 2), request("y", 9)])
    assert [len(page.documents) for page in pages] == [2, 6]
    assert [(asked.query, len(asked.useful)) for asked in one.asked] == [("x", 5), ("y", 9)]
    assert one.asked == other.asked


def test_one_page_that_failed_is_one_error():
    class Failing(Ranking):
        def search(self, requests):
            return [SearchError("quota"), *super().search(requests[1:])]

    pages = HybridEngine([Ranking("a"), Failing("b")]).search([request("x"), request("y")])
    assert isinstance(pages[0], SearchError) and texts(pages[1]) == ["a", "b"]


def test_what_does_not_fit_is_refused():
    class SeesAll(Ranking):
        query_only = False

    class Short(Ranking):
        def search(self, requests):
            return []

    for engines, weights in (([], None), ([Ranking()], [1, 2]), ([Ranking()], [0])):
        with pytest.raises(ValueError, match="weight"):
            HybridEngine(engines, weights)
    with pytest.raises(ValueError, match=r"engine 1 of the hybrid .* is not query-only"):
        HybridEngine([Ranking(), SeesAll()])
    with pytest.raises(ValueError, match="depth"):
        HybridEngine([Ranking()], depth=0)
    (failure,) = HybridEngine([Short()]).search([request()])
    assert "wrong number of pages: 0 for 1 requests" in str(failure)


def test_it_closes_and_names_what_it_is_made_of():
    one, other = Ranking("a"), Ranking("b")
    hybrid = HybridEngine([one, other])
    assert hybrid.in_process
    other.in_process = False
    assert not HybridEngine([one, other]).in_process
    assert hybrid.fingerprint != HybridEngine([one, other], depth=7).fingerprint
    hybrid.close()
    assert one.closed and other.closed


def test_a_spec_builds_one(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "fjord in Norway"}\n{"text": "fjord fjord"}\n', "utf-8")
    bm25 = {"kind": "bm25", "passages": str(path)}
    hybrid = build_engine({"kind": "hybrid", "engines": [bm25, bm25], "depth": 2}, [])
    alone = BM25Engine(path).search([request("fjord")])[0]
    assert texts(hybrid.search([request("fjord")])[0]) == texts(alone)
