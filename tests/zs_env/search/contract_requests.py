"""Questions, requests and pages that the tests of the engine contract share."""

from zs_env import Document, Question, SearchPage
from zs_env.engines import BM25Engine
from zs_env.search.types import SearchRequest

QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=("Ann",)) for n in range(8)]


def request(query, count=1, seed=0):
    return SearchRequest(query, None, None, (True,) * count, seed)


def page_of(one):
    return SearchPage((Document(f"on {one.query}"),))


def bm25():
    return BM25Engine.from_passages([{"text": "Ann Lee built the bridge."}, {"text": "Tea grows."}])
