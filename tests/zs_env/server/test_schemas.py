import json
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zs_env.search.types import Document, SearchPage
from zs_env.server.schemas import (
    MAX_QUERIES,
    WireError,
    decode_pages,
    decode_retrieval,
    encode_pages,
)

PAGE = SearchPage(
    (Document("text one", "Title\none", metadata=(("score", 2.5),)), Document("two\nlines"))
)


def test_search_r1_asks_for_many_and_gets_a_list_for_each():
    asked = decode_retrieval(b'{"queries": ["a", "b"], "topk": 2, "return_scores": true}')
    assert (asked.queries, asked.topk, asked.packed) == (("a", "b"), 2, False)
    body, content_type = encode_pages(asked, [PAGE, SearchPage(())])
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


def test_skyrl_asks_for_one_in_json_and_gets_a_list_of_one():
    asked = decode_retrieval(b'{"query": "a", "topk": 3, "return_scores": true}')
    assert len(json.loads(encode_pages(asked, [PAGE])[0])["result"]) == 1


def test_gem_asks_in_msgpack_and_gets_a_flat_list():
    asked = decode_retrieval(msgpack.packb({"query": "a", "topk": 3, "return_scores": True}))
    assert asked.packed and asked.queries == ("a",)
    body, content_type = encode_pages(asked, [PAGE])
    assert content_type == "application/msgpack"
    (first, _) = msgpack.unpackb(body)["result"]
    assert first == {"document": {"contents": "Title one\ntext one"}, "score": 2.5}


def test_without_scores_documents_stand_bare():
    asked = decode_retrieval(b'{"queries": ["a"], "return_scores": false}')
    assert asked.topk == 3
    assert json.loads(encode_pages(asked, [PAGE])[0])["result"][0][0] == {
        "contents": "Title one\ntext one"
    }


def test_search_r1_asks_for_nothing_and_for_as_many_as_there_are():
    # As its `batch_search` does where no row of a batch searches, and with `topk` unset.
    asked = decode_retrieval(b'{"queries": [], "topk": 0, "return_scores": true}')
    assert (asked.queries, asked.topk) == ((), 3)
    assert json.loads(encode_pages(asked, [])[0]) == {"result": []}


def test_no_more_documents_are_sent_than_were_asked_for():
    asked = decode_retrieval(b'{"query": "a", "topk": 2}')
    page = SearchPage(tuple(Document(f"text {n}") for n in range(9)))
    assert len(json.loads(encode_pages(asked, [page])[0])["result"][0]) == 2


def test_question_ids_go_with_their_queries():
    asked = decode_retrieval(b'{"queries": ["a", "b"], "question_ids": ["7", null]}')
    assert asked.question_ids == ("7", None)
    assert decode_retrieval(b'{"query": "a", "question_id": 7}').question_ids == ("7",)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "expected"),
        (b"[]", "expected JSON or msgpack|expected an object"),
        (b"{", "expected JSON"),
        (b"{}", "'query' is a string"),
        (b'{"query": 3}', "'query' is a string"),
        (b'{"queries": "a"}', "list of strings"),
        (b'{"query": "a", "topk": -1}', "'topk' is an integer from 1 to 1000, got -1"),
        (b'{"query": "a", "topk": 1001}', "from 1 to 1000"),
        (b'{"query": "a", "topk": true}', "'topk'"),
        (b'{"query": "a", "topk": "3"}', "'topk'"),
        (b'{"queries": ["a"], "question_ids": ["1", "2"]}', "one id, or null, for each"),
        (json.dumps({"queries": ["a"] * (MAX_QUERIES + 1)}).encode(), "at most 8192 .* got 8193"),
        (b"[" * 100_000, "expected"),
        (msgpack.packb([1]), "expected an object"),
    ],
)
def test_what_is_no_search_is_said_to_be_none(body, match):
    with pytest.raises(WireError, match=match):
        decode_retrieval(body)


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_search_or_a_wire_error(body):
    with suppress(WireError):
        decode_retrieval(body)


@pytest.mark.parametrize(
    ("row", "document"),
    [
        ({"document": {"contents": '"T"\nx'}, "score": 2}, ("T", "x")),
        ({"document": {"title": "T", "text": "x\ny"}}, ("T", "x\ny")),
        ({"contents": "x"}, ("", "x")),
        ({"text": "x\ny"}, ("", "x\ny")),
        ("x", ("", "x")),
    ],
)
def test_documents_in_the_forms_of_several_servers(row, document):
    ((found,),) = decode_pages(json.dumps({"result": [[row]]}).encode(), 1)
    assert (found.title, found.text) == document


def test_a_flat_answer_to_one_query_is_understood():
    body = json.dumps({"result": [{"text": "a"}, {"text": "b"}]}).encode()
    assert [document.text for document in decode_pages(body, 1)[0]] == ["a", "b"]


@pytest.mark.parametrize(
    "body", [b"", b"3", b"{}", b'{"result": [[]]}', b'{"result": [3, 3]}', b'{"result": [[3], []]}']
)
def test_what_is_no_answer_to_two_queries_is_said_to_be_none(body):
    with pytest.raises(WireError):
        decode_pages(body, 2)
