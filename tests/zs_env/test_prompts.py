"""Prompts, notices and pages."""

import pytest

from zs_env.actions import MALFORMED_KINDS, Malformed, parse_action
from zs_env.engines import ScriptedEngine
from zs_env.env import ZeroSearchEnv
from zs_env.prompts import BARE_NOTICES, NOTICES, PROMPTS, PromptTemplate, render_page
from zs_env.questions.question import Question
from zs_env.search.types import Document

QUESTION = Question(id="q", text="Who built {max_turns} <search> towers?", answers=("Ann",))


def _render(template: PromptTemplate, question: Question = QUESTION) -> str:
    return template.render_prompt(question, max_turns=6, num_documents=5)


def test_placeholders_are_replaced_except_inside_the_question():
    prompt = _render(PromptTemplate("{max_turns}/{num_documents}: {question}"))
    assert prompt == "6/5: Who built {max_turns} (search> towers?"


def test_a_questions_own_prompt_is_used_verbatim():
    own = "Use <search> {question} <|im_start|>"
    question = Question(id="q", text="t", answers=("a",), prompt=own)
    assert _render(PROMPTS["instruct"], question) == own


@pytest.mark.parametrize("chosen", ["no_search", "Mine {question}", PromptTemplate("A {question}")])
def test_a_prompt_that_was_chosen_overrides_those_of_questions(chosen):
    question = Question(id="q", text="t", answers=("a",), prompt="Say why.")
    plain = Question(id="q", text="t", answers=("a",))

    def first_message(question, **settings):
        return ZeroSearchEnv([question], ScriptedEngine({}), **settings).reset()[0]["message"]

    assert first_message(question) == "Say why."
    assert first_message(question, prompt=chosen) == first_message(plain, prompt=chosen)
    assert first_message(question, prompt=chosen) == _render(PromptTemplate.of(chosen), plain)
    assert first_message(plain) == _render(PROMPTS["instruct"], plain)


@pytest.mark.parametrize("name", PROMPTS)
def test_named_prompts_end_with_the_question(name):
    plain = Question(id="q", text="Who?", answers=("Ann",))
    assert _render(PROMPTS[name], plain).endswith("Question: Who?\n")


def test_the_prompt_of_tool_calls_mentions_no_tag():
    tools = ("search", "open")
    template = PROMPTS["tool_calls"]
    question = Question(id="q", text="Who?", answers=("Ann",))
    texts = [template.render_prompt(question, max_turns=6, num_documents=5, tools=tools)]
    assert "`open`" in texts[0]
    assert "`open`" not in _render(template)
    texts += [template.render_notice(kind, tools) for kind in MALFORMED_KINDS]
    assert not any("<" in text for text in texts)


def test_a_prompt_without_the_question_is_an_error():
    with pytest.raises(ValueError, match="question"):
        PromptTemplate.of("instructt")


@pytest.mark.parametrize("kind", MALFORMED_KINDS)
def test_every_malformed_kind_has_a_notice_that_is_no_action(kind):
    assert NOTICES[kind] in PROMPTS["instruct"].render_notice(kind)
    assert BARE_NOTICES.get(kind, NOTICES[kind]) in PROMPTS["bare"].render_notice(kind)
    assert PromptTemplate("{question}", {kind: "No."}).render_notice(kind) == "No."


def test_a_page_numbers_its_documents_or_says_that_it_is_empty():
    page = render_page([Document(text="x", title="T"), Document(text="y")])
    assert page == "\n\n<information>\nDoc 1: T. x\nDoc 2: y\n</information>\n\n"
    assert "No documents were found." in render_page([])


def test_a_page_is_no_action():
    assert parse_action(render_page([Document(text="x")])) == Malformed("spoofed_tag")
