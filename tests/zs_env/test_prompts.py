"""The environment's words."""

import pytest

from zs_env.actions import MALFORMED_KINDS, Malformed, parse_action
from zs_env.prompts import NOTICES, PROMPTS, PromptTemplate, render_page
from zs_env.questions.question import Question
from zs_env.search.types import Document

QUESTION = Question(id="q", text="Who built {max_turns} <search> towers?", answers=("Ann",))


def _render(template: PromptTemplate, question: Question = QUESTION) -> str:
    return template.render_prompt(question, max_turns=6, num_documents=5)


def test_places_are_filled_and_those_inside_a_question_are_not():
    prompt = _render(PromptTemplate(prompt="{max_turns}/{num_documents}: {question}"))
    assert prompt == "6/5: Who built {max_turns} (search> towers?"


def test_a_rows_own_prompt_is_used_verbatim():
    own = "Use <search> {question} <|im_start|>"
    question = Question(id="q", text="t", answers=("a",), prompt=own)
    assert _render(PromptTemplate(), question) == own


@pytest.mark.parametrize("name", PROMPTS)
def test_named_prompts_end_with_the_question(name):
    plain = Question(id="q", text="Who?", answers=("Ann",))
    assert _render(PromptTemplate(prompt=name), plain).endswith("Question: Who?\n")


def test_a_template_without_a_place_for_the_question_is_refused():
    with pytest.raises(ValueError, match="question"):
        PromptTemplate(prompt="instructt")


@pytest.mark.parametrize("kind", MALFORMED_KINDS)
def test_every_malformed_kind_has_a_notice_that_does_not_act(kind):
    notice = PromptTemplate().render_notice(kind)
    assert NOTICES[kind] in notice
    assert PromptTemplate(notices={kind: "No."}).render_notice(kind) == "No."


def test_a_page_numbers_its_documents_and_says_when_it_is_empty():
    page = render_page([Document(text="x", title="T"), Document(text="y")])
    assert page == "\n\n<information>\nDoc 1: T. x\nDoc 2: y\n</information>\n\n"
    assert "No documents were found." in render_page([])


def test_a_page_does_not_act():
    assert parse_action(render_page([Document(text="x")])) == Malformed("spoofed_tag")
