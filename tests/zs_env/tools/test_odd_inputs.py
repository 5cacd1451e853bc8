"""Odd opens, queries and tool calls have a documented result."""

import pytest

from zs_env import Question, SearchEngine, SearchPage, ZeroSearchEnv
from zs_env.actions import Answer, Malformed, Open, Search, parse_action
from zs_env.search.types import Document
from zs_env.transcripts.transcript import Verdict
from zs_env.wrappers import ToolCalls, action_text

BOTH = ("search", "open")
INVALID = Malformed("invalid_open")


class Echo(SearchEngine):
    """Returns the query as a document."""

    in_process = thread_safe = can_open = True

    def search(self, requests):
        return [SearchPage((Document(one.query),)) for one in requests]

    def open(self, requests):
        return [SearchPage((Document(f"{one.document.text} in full"),)) for one in requests]


def make(**settings):
    questions = [Question(id="q", text="Who?", answers=("Ann",))]
    return ZeroSearchEnv(questions, Echo(), num_documents=1, max_turns=9, tools=BOTH, **settings)


@pytest.mark.parametrize(
    ("content", "action"),
    [
        ("p3", INVALID),
        ("2 p", INVALID),
        ("2 P3", INVALID),
        ("2 p3 p4", INVALID),
        ("+1", INVALID),
        ("1.0", INVALID),
        ("1e3", INVALID),
        ("0x1", INVALID),
        ("\uff12", INVALID),  # a full-width digit
        ("\u00b2", INVALID),  # a superscript
        ("9999999999999", INVALID),
        ("1\n2", INVALID),
        ("<b>1</b>", INVALID),
        ("\n\n2\n\np3\n", Open(2, 3)),
        ("\u00a02", Open(2)),  # a no-break space is a space
        ("007", Open(7)),
        ("999999999 p999999999", Open(999999999, 999999999)),
        ("2 p0", Open(2, 0)),
        ("1 <open>2", Open(2)),  # the content starts after the last opening tag
        ("<open><open>2", Open(2)),
    ],
)
def test_the_content_of_an_open_is_a_number_and_perhaps_a_part(content, action):
    assert parse_action(f"<open>{content}</open>", tools=BOTH) == action


def test_the_first_closing_tag_acts_in_nested_tags():
    assert parse_action("<open>1<search>x</search></open>", tools=BOTH) == Search("x")
    assert parse_action("<search>x<open>1</open></search>", tools=BOTH) == Open(1)
    assert parse_action("<open>1<answer>x</answer>", tools=BOTH) == Answer("x")
    assert parse_action("<search>x</open>", tools=BOTH) == Malformed("unopened")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<open>999999999</open>", "unknown_document"),
        ("<open>1 p999999999</open>", "unknown_part"),
        ("<open>1 p0</open>", "unknown_part"),
        ("<open>9999999999999</open>", "invalid_open"),
    ],
)
def test_a_number_that_no_document_has_is_malformed(text, kind):
    env = make()
    env.reset(seed=0)
    env.step("<search>x</search>")
    observation, *_ = env.step(text)
    assert env.transcript().malformed == {kind: 1} and "<open>" in observation["message"]


@pytest.mark.parametrize(
    ("content", "action"),
    [
        ("\n\n a \n\t\n a \n b  c\n", Search("a\nb c")),
        ("a\r\nb\u2028c", Search("a\nb\nc")),
        ("a\n" * 10_000, Search("a")),
        (" \n\t\n \u00a0\n", Malformed("empty_query")),
        ("", Malformed("empty_query")),
        ("a\nb\nc\nd", Malformed("too_many_queries")),
        ("\n".join(map(str, range(10_000))), Malformed("too_many_queries")),
    ],
)
def test_each_line_with_words_is_a_query_once(content, action):
    assert parse_action(f"<search>{content}</search>", max_queries=3) == action


def test_more_characters_than_allowed_are_too_long_before_queries_are_counted():
    env = make(max_queries=3)
    env.reset(seed=0)
    env.step(f"<search>{'a' + chr(10)}{'b' * 9000}</search>")
    assert env.transcript().malformed == {"too_long": 1}


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None, float("nan"), float("inf")])
def test_the_number_of_queries_is_a_whole_number_from_1(value):
    with pytest.raises(ValueError, match="max_queries must be"):
        make(max_queries=value)


@pytest.mark.parametrize(
    "query", ["a</open>b", "<open>1</open>", "x <open>2</open> y", "</search>"]
)
def test_a_tag_in_a_tool_call_has_no_effect(query):
    calls = ToolCalls(make())
    calls.reset(seed=0)
    shown = query.replace("<", "(")
    assert shown in calls.search(query)
    transcript = calls._env.unwrapped.transcript()
    assert transcript.turns[0].action == Search(shown) and not transcript.malformed
    assert parse_action(action_text("answer", {"text": query}), tools=BOTH) == Answer(shown)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf"), "1", None, True])
def test_the_value_of_a_verdict_is_in_0_to_1(value):
    with pytest.raises(ValueError, match="the value of a verdict"):
        Verdict(value)
