"""Parsing of actions."""

import pytest

from zs_env.actions import (
    MALFORMED_KINDS,
    OPEN_ERRORS,
    Answer,
    Malformed,
    Search,
    parse_action,
    thinks_before_acting,
)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<search>who</search>", Search("who")),
        ("<answer>Ann</answer>", Answer("Ann")),
        ("<think>hm</think> <search> the\n  king </search>", Search("the king")),
        ("no tags at all", Malformed("no_action")),
        ("", Malformed("no_action")),
        ("<search>never closed", Malformed("unclosed")),
        ("<answer>never closed</search", Malformed("unclosed")),
        ("closed only</answer>", Malformed("unopened")),
        ("<search>other kind</answer>", Malformed("unopened")),
        ("<search> \n\t </search>", Malformed("empty_query")),
        ("<answer></answer>", Malformed("empty_answer")),
        ("<information>mine</information><answer>a</answer>", Malformed("spoofed_tag")),
        ("</information><answer>a</answer>", Malformed("spoofed_tag")),
        ("<search>a<information>b</search>", Malformed("spoofed_tag")),
        ("<information>and nothing else", Malformed("spoofed_tag")),
        ("<Search>tags are lower case</Search>", Malformed("no_action")),
        ("<search >exact</search>", Malformed("unopened")),
    ],
)
def test_each_text_has_its_action(text, action):
    assert parse_action(text) == action


def test_the_first_closing_tag_acts_and_the_rest_is_ignored():
    assert parse_action("<search>a</search><answer>b</answer>") == Search("a")
    assert parse_action("<answer>b</answer><information>x</information>") == Answer("b")


def test_content_runs_from_the_last_opening_tag_of_its_kind():
    text = "I could write <search> or <answer>. <search>first <search>second</search>"
    assert parse_action(text) == Search("second")
    assert parse_action("<search>a <answer>b</search>") == Search("a <answer>b")


def test_a_text_is_too_long_only_beyond_the_limit():
    text = "<answer>a</answer>"
    assert parse_action(text, max_chars=len(text)) == Answer("a")
    assert parse_action(text, max_chars=len(text) - 1) == Malformed("too_long")


def test_every_malformed_kind_can_occur():
    texts = ["", "<search>", "</search>", "<search></search>", "<answer></answer>"]
    kinds = [parse_action(text) for text in [*texts, "<information>"]]
    kinds.append(parse_action("long", max_chars=1))
    found = {kind.kind for kind in kinds if isinstance(kind, Malformed)}
    assert found == {*MALFORMED_KINDS} - {*OPEN_ERRORS, "too_many_queries"}


@pytest.mark.parametrize(
    ("text", "thinks"),
    [
        ("<think>a</think><search>b</search>", True),
        ("already open</think> <answer>b</answer>", True),
        ("<search>b</search>", False),
        ("<search>b</search><think>late</think>", False),
        ("<think>never closed <search>b</search>", False),
        ("</think><think><search>b</search>", False),
        ("<think>a</think><think>b</think><search>c</search>", False),
        ("<think>a</think> no action", False),
    ],
)
def test_thinking_comes_closed_and_before_the_action(text, thinks):
    assert thinks_before_acting(text) is thinks
