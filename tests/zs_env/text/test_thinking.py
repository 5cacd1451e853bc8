"""Thinking is separated from the response, whichever of its tags a model writes."""

import pytest

from zs_env.simulator.page_parsing import split_documents
from zs_env.text.thinking import has_response, split_thinking

THOUGHT = "The answer is Oslo. Doc 1: should mention Oslo.\nDoc 2: too."


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("<think>\n", "\n</think>\n\n"),
        ("", "\n</think>\n\n"),  # the chat template wrote the opening tag
        ("<thinking>", "</thinking>"),
        ("", "</ Think >"),
        ("<seed:think>", "</seed:think>"),
        ("<thought>", "</thought>"),
        ("[THINK]", "[/THINK]"),
        ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<think>a</think>Doc 1: draft <think>", "</think>"),
    ],
)
def test_nothing_before_the_end_of_thinking_reaches_a_page(start, end):
    page = "Doc 1: Bergen is rainy.\nDoc 2: Trondheim is old."
    assert split_documents(f"{start}{THOUGHT}{end}{page}") == [
        "Bergen is rainy.",
        "Trondheim is old.",
    ]
    thinking, response = split_thinking(f"{start}{THOUGHT}{end}{page}")
    assert response.strip() == page and THOUGHT in thinking


@pytest.mark.parametrize(
    "text", ["", " \n ", "<think>\nhm", "hm</think>\n", "<think></think>", "[THINK]hm", "<think>"]
)
def test_a_text_of_thinking_alone_has_no_response(text):
    assert not has_response(text) and split_documents(text) == []


def test_a_text_without_thinking_is_its_response():
    assert split_thinking("I think, therefore") == ("", "I think, therefore")
