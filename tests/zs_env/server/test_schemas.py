import json
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zs_env.search.types import Document, SearchPage
from zs_env.server.schemas import (
    MAX_QUERIES,
    InvalidBody,
    decode_opened,
    decode_pages,
    decode_request,
    encode_pages,
)

PAGE = SearchPage(
    (Document("text one", "Title\none", metadata=(("score", 2.5),)), Document("two\nlines"))
)


def test_search_r1_gets_a_list_for_each_query():
    request = decode_request(b'{"queries": ["a", "b"], "topk": 2, "return_scores": true}')
    assert (request.queries, request.topk, request.is_msgpack) == (("a", "b"), 2, False)
    body, content_type = encode_pages(request, [PAGE, SearchPage(())])
    assert content_type == "application/json"
    assert json.loads(body) == {
        "result": [
            [
                {"document": {"contents": "Title one\ntext one"}, "score": 2.5},
                {"document": {"contents": "\ntwo\nlines"}, "score": 0.5},
            ],
            [],
        ]
    }


def test_skyrl_gets_a_list_of_one():
    request = decode_request(b'{"query": "a", "topk": 3, "return_scores": true}')
    assert len(json.loads(encode_pages(request, [PAGE])[0])["result"]) == 1


def test_gem_gets_a_flat_list_in_msgpack():
    request = decode_request(
        msgpack.packb({"query": "a", "topk": 3, "return_scores": True}), is_msgpack=True
    )
    assert request.is_msgpack and request.queries == ("a",)
    body, content_type = encode_pages(request, [PAGE])
    assert content_type == "application/msgpack"
    (first, _) = msgpack.unpackb(body)["result"]
    assert first == {"document": {"contents": "Title one\ntext one"}, "score": 2.5}


def test_documents_without_scores():
    request = decode_request(b'{"queries": ["a"], "return_scores": false}')
    assert request.topk == 3
    assert json.loads(encode_pages(request, [PAGE])[0])["result"][0][0] == {
        "contents": "Title one\ntext one"
    }


def test_search_r1_sends_empty_requests_and_the_default_topk():
    # Its `batch_search` sends this if no row of a batch searches and `topk` is unset.
    request = decode_request(b'{"queries": [], "topk": 0, "return_scores": true}')
    assert (request.queries, request.topk) == ((), 3)
    assert json.loads(encode_pages(request, [])[0]) == {"result": []}


def test_at_most_topk_documents_are_sent():
    request = decode_request(b'{"query": "a", "topk": 2}')
    page = SearchPage(tuple(Document(f"text {n}") for n in range(9)))
    assert len(json.loads(encode_pages(request, [page])[0])["result"][0]) == 2


def test_question_ids_belong_to_their_queries():
    request = decode_request(b'{"queries": ["a", "b"], "question_ids": ["7", null]}')
    assert request.question_ids == ("7", None)
    assert decode_request(b'{"query": "a", "question_id": 7}').question_ids == ("7",)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "expected"),
        (b"[]", "expected an object"),
        (b"{", "expected JSON"),
        (b"{}", "'query' is a string"),
        (b'{"query": 3}', "'query' is a string"),
        (b'{"queries": "a"}', "list of strings"),
        (b'{"query": "a", "topk": -1}', "'topk' is an integer from 1 to 1000, got -1"),
        (b'{"query": "a", "topk": 1001}', "from 1 to 1000"),
        (b'{"query": "a", "topk": true}', "'topk'"),
        (b'{"query": "a", "topk": "3"}', "'topk'"),
        (b'{"query": "a", "return_scores": "false"}', "is true or false, got 'false'"),
        (b'{"query": "a", "return_scores": 0}', "is true or false, got 0"),
        (b'{"queries": ["a"], "question_ids": ["1", "2"]}', "one id, or null, for each"),
        (json.dumps({"queries": ["a"] * (MAX_QUERIES + 1)}).encode(), "at most 8192 .* got 8193"),
        (b"[" * 100_000, "expected"),
        (b'{"query": "\xff"}', "expected JSON"),
        (b'{"query": "a", "topk": false}', "'topk'"),
        (b'{"query": "a", "question_id": [1]}', "a string or an integer"),
        (b'{"query": "a \\ud800"}', "lone surrogate"),
        (b'{"query": "a", "question_id": "\\udfff"}', "lone surrogate"),
    ],
)
def test_an_invalid_request_is_refused(body, match):
    with pytest.raises(InvalidBody, match=match):
        decode_request(body)


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_an_invalid_body(body):
    for is_msgpack in (False, True):
        with suppress(InvalidBody):
            decode_request(body, is_msgpack=is_msgpack)


@pytest.mark.parametrize(
    ("row", "document"),
    [
        ({"document": {"contents": '"T"\nx'}, "score": 2}, ("T", "x")),
        ({"document": {"title": "T", "text": "x\ny"}}, ("T", "x\ny")),
        ({"contents": "x"}, ("", "x")),
        ({"contents": "\nx"}, ("", "x")),
        ({"contents": "x is red.\nx is old."}, ("", "x is red.\nx is old.")),
        ({"contents": '"Help!"\nx'}, ("Help!", "x")),
        ({"contents": '"T"\n'}, ("", '"T"')),
        ({"title": "T", "contents": '"T"\nx'}, ("T", "x")),
        ({"title": "T", "contents": "x\ny"}, ("T", "x\ny")),
        ({"title": "T", "text": "x", "contents": None}, ("T", "x")),
        ({"text": "x", "contents": "T\nx"}, ("T", "x")),
        ({"text": "x\ny"}, ("", "x\ny")),
        ("x", ("", "x")),
    ],
)
def test_documents_in_the_formats_of_several_servers(row, document):
    ((found,),) = decode_pages(json.dumps({"result": [[row]]}).encode(), 1)
    assert (found.title, found.text) == document


def test_a_flat_answer_to_one_query_is_decoded():
    body = json.dumps({"result": [{"text": "a"}, {"text": "b"}]}).encode()
    assert [document.text for document in decode_pages(body, 1)[0]] == ["a", "b"]


@pytest.mark.parametrize(
    "body", [b"", b"3", b"{}", b'{"result": [[]]}', b'{"result": [3, 3]}', b'{"result": [[3], []]}']
)
def test_an_invalid_answer_is_refused(body):
    with pytest.raises(InvalidBody):
        decode_pages(body, 2)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_a_score_that_is_not_finite_is_null_and_a_failed_check(score):
    body = f'{{"result": [[{{"document": {{"contents": "x"}}, "score": {score}}}]]}}'.encode()
    ((document,),) = decode_pages(body, 1)
    assert document.metadata == (("score", None),) and document.checks == ("not_finite",)
    request = decode_request(b'{"query": "a"}')
    encoded = encode_pages(request, [SearchPage((document,))])[0]
    assert b'"score": null' in encoded
    nan = SearchPage((Document("x", metadata=(("score", float("nan")),)),))
    assert b'"score": null' in encode_pages(request, [nan])[0]


@pytest.mark.parametrize("title", ["", "Oslo", "Help!", "St. Olaf Inc."])
def test_title_and_text_of_our_server_come_back(title):
    page = SearchPage((Document("one\ntwo", title),))
    body = encode_pages(decode_request(b'{"query": "a"}'), [page])[0]
    ((document,),) = decode_pages(body, 1)
    assert (document.title, document.text) == (title, "one\ntwo")


def test_opened_documents_are_beside_the_pages():
    request = decode_request(b'{"query": "a", "topk": 2, "open": [2]}')
    assert request.open == (2,)
    body = encode_pages(request, [PAGE], [SearchPage((Document("full", "T"),))])[0]
    # The second document of a page has the score 1 / 2.
    assert decode_opened(body, 1) == [Document("full", "T", metadata=(("score", 0.5),))]
    assert decode_pages(body, 1) == decode_pages(encode_pages(request, [PAGE])[0], 1)
    assert decode_opened(b'{"result": []}', 0) is None and decode_opened(b"[]", 0) is None
    with pytest.raises(InvalidBody, match="expected 2 opened documents, got 1"):
        decode_opened(body, 2)


@pytest.mark.parametrize("opens", ["2", "[0]", "[3]", "[true]", '["1"]', "[1, 1]", "[]", "{}"])
def test_a_wrong_number_of_a_document_is_refused(opens):
    with pytest.raises(InvalidBody, match="'open' is a list with an integer from 1 to 2"):
        decode_request(b'{"query": "a", "topk": 2, "open": %s}' % opens.encode())
