"""The scripted engine returns the given pages."""

import pytest

from zs_env.engines import ScriptedEngine
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest


def _request(query, count=2):
    return SearchRequest(query, "Q", ("x",), (True,) * count, 0)


def _texts(engine, *queries):
    pages = engine.search([_request(query) for query in queries])
    return [[(d.title, d.text) for d in page.documents] for page in pages]


def test_a_mapping_answers_its_queries_and_has_a_default_for_others():
    script = {"a": ["one"], "b": [{"text": "two", "title": "T"}], "c": [Document("three")]}
    assert _texts(ScriptedEngine(script), "a", "b", "c", "d") == [
        [("", "one")],
        [("T", "two")],
        [("", "three")],
        [],
    ]
    assert _texts(ScriptedEngine(script, default=["?"]), "d") == [[("", "?")]]


def test_a_function_sees_the_whole_request():
    engine = ScriptedEngine(lambda request: [f"{request.query} {request.question}"])
    assert _texts(engine, "a", "b") == [[("", "a Q")], [("", "b Q")]]


def test_no_more_documents_are_shown_than_wanted_but_a_ready_page_stays_whole():
    assert _texts(ScriptedEngine({"a": ["1", "2", "3"]}), "a") == [[("", "1"), ("", "2")]]
    page = SearchPage((Document("1"), Document("2"), Document("3")))
    assert ScriptedEngine({"a": page}).search([_request("a")]) == [page]


def test_a_script_may_fail():
    def fail(request):
        raise SearchError(f"no page for {request.query}")

    with pytest.raises(SearchError, match="no page for a"):
        ScriptedEngine(fail).search([_request("a")])


def test_the_fingerprint_follows_a_mapping_and_its_default():
    prints = {
        ScriptedEngine({"a": ["one"]}).fingerprint,
        ScriptedEngine({"a": ["two"]}).fingerprint,
        ScriptedEngine({"a": ["one"]}, default=["?"]).fingerprint,
        ScriptedEngine(lambda request: [], fingerprint="mine").fingerprint,
    }
    assert len(prints) == 4
    script = {"a": ["one"], "b": ["two"]}
    turned = dict(reversed(script.items()))
    assert ScriptedEngine(script).fingerprint == ScriptedEngine(turned).fingerprint
