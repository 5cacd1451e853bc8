"""Google through a fake SerpAPI on the loopback: its answers become pages or errors."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from tests.zs_env.engines.conformance import check_engine
from zs_env.engines import CachedEngine, GoogleEngine
from zs_env.engines.google import KEY_VARIABLE
from zs_env.search.types import SearchError, SearchPage, SearchRequest

KEY = "planted-key-4711"
# Shapes as the service documents them.
FOUND = {
    "search_metadata": {"status": "Success"},
    "organic_results": [
        {"position": n, "title": f"Title {n}", "link": f"https://e/{n}", "snippet": f"Snippet {n}."}
        for n in range(1, 8)
    ],
}
NOTHING = {
    "search_metadata": {"status": "Success"},
    "error": "Google hasn't returned any results for this query.",
}
QUOTA = {"error": "Your account has run out of searches."}


class Fake:
    """Answers each query by its script, a list of (status, body) used up one by one."""

    def __init__(self):
        self.asked = []
        self.script = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                query = {key: one[0] for key, one in parse_qs(urlparse(self.path).query).items()}
                fake.asked.append(query)
                answers = fake.script.get(query["q"], [(200, FOUND)])
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                if body == "slow":
                    time.sleep(1.0)
                raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                except BrokenPipeError:
                    pass

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setattr("zs_env.engines.google._BACKOFF_S", 0.001)
    fake = Fake()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def request(query, count=5):
    return SearchRequest(query, None, None, (True,) * count, 1)


def test_results_become_documents(fake):
    (page,) = GoogleEngine(base_url=fake.url, country="de", language="fr").search([request("q")])
    assert [document.title for document in page.documents] == [f"Title {n}" for n in range(1, 6)]
    assert page.documents[0].text == "Snippet 1."
    assert dict(page.documents[0].metadata) == {"link": "https://e/1"}
    assert page.cost.calls == 1 and page.engine == "google"
    assert fake.asked == [
        {"engine": "google", "q": "q", "num": "5", "gl": "de", "hl": "fr", "api_key": KEY}
    ]


def test_a_query_without_results_is_an_empty_page_and_asked_once(fake):
    fake.script["q"] = [(200, NOTHING)]
    (page,) = GoogleEngine(base_url=fake.url).search([request("q")])
    assert page.documents == () and page.cost.calls == 1
    assert len(fake.asked) == 1


def test_an_empty_query_is_not_sent(fake):
    (page,) = GoogleEngine(base_url=fake.url).search([request(" ")])
    assert page.documents == () and fake.asked == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, QUOTA, "run out of searches"),
        (401, {"error": f"Invalid API key: {KEY}"}, r"Invalid API key: \[key\]"),
        (200, {"error": "Unsupported `gl`."}, "Unsupported"),
    ],
)
def test_a_refusal_is_final_and_its_words_are_passed_on(fake, status, body, words):
    fake.script["bad"] = [(status, body)]
    error, page = GoogleEngine(base_url=fake.url).search([request("bad"), request("good")])
    assert isinstance(error, SearchError) and isinstance(page, SearchPage)
    with pytest.raises(SearchError, match=words):
        raise error
    assert sum(query["q"] == "bad" for query in fake.asked) == 1
    assert KEY not in str(error)


@pytest.mark.parametrize(
    "failure", [(500, "oops"), (503, {}), (200, "not json"), (200, []), (200, {})]
)
def test_a_failure_is_asked_again(fake, failure):
    fake.script["q"] = [failure, failure, (200, FOUND)]
    (page,) = GoogleEngine(base_url=fake.url).search([request("q")])
    assert len(page.documents) == 5 and len(fake.asked) == 3
    fake.script["q"] = [failure]
    (error,) = GoogleEngine(base_url=fake.url, max_tries=2).search([request("q")])
    assert isinstance(error, SearchError) and "no answer in 2 tries" in str(error)
    assert KEY not in str(error)


def test_a_slow_service_is_not_waited_for(fake):
    fake.script["q"] = [(200, "slow")]
    (error,) = GoogleEngine(base_url=fake.url, timeout_s=0.1, max_tries=2).search([request("q")])
    assert "no answer within 0.1 s" in str(error)


def test_no_service_at_all(fake):
    (error,) = GoogleEngine(base_url="http://127.0.0.1:9", max_tries=1).search([request("q")])
    assert isinstance(error, SearchError) and KEY not in str(error)


def test_equal_queries_are_sent_once_and_a_cache_keeps_them(fake):
    cached = CachedEngine(GoogleEngine(base_url=fake.url))
    other = SearchRequest("q", "Another question?", ("x",), (False,) * 5, 2)
    assert len(cached.search([request("q"), other, request("r")])) == 3
    cached.search([other])
    assert sorted(query["q"] for query in fake.asked) == ["q", "r"]


def test_without_a_key_the_variable_is_named(fake, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(SearchError, match=f"set the environment variable {KEY_VARIABLE}"):
        GoogleEngine(base_url=fake.url).search([request("q")])


def test_the_key_is_kept_nowhere(fake):
    engine = GoogleEngine(base_url=fake.url)
    engine.search([request("q")])
    assert KEY not in repr(vars(engine)) and KEY not in engine.fingerprint


def test_settings_out_of_range_are_refused():
    for settings in ({"concurrency": 0}, {"max_tries": 0}, {"timeout_s": 0}):
        with pytest.raises(ValueError, match="must be"):
            GoogleEngine(**settings)


def test_google_keeps_the_contract(fake):
    asked = [SearchRequest(query, None, None, (True, True), 1) for query in ("one", "two")]
    check_engine(lambda: GoogleEngine(base_url=fake.url), asked)
