from dataclasses import replace

import pytest

from zs_env.search.types import SearchRequest
from zs_env.simulator.prompts import GROUNDED, PROMPTED, TUNED, SimulatorPrompts

KNOWN = SearchRequest("{query} {0}", "Who {x}?", ("Ada", "Countess"), (True,), 1)
UNKNOWN = SearchRequest("who", None, None, (True,), 1)


def prompts(**fields):
    return SimulatorPrompts(**{"name": "mine", "useful": "", "noisy": "", **fields})


def test_every_variable_is_filled_in_and_braces_in_values_have_no_effect():
    mine = prompts(
        useful="{kind} {num_documents} {num_words} {date}|{query}|{context}",
        context="{question}={answer}={answers}",
        num_words=12,
        date="2 May",
    )
    assert mine.render(KNOWN, useful=True, num_documents=4) == (
        "useful 4 12 2 May|{query} {0}|Who {x}?=Ada=Ada / Countess"
    )


def test_useful_and_noisy_have_their_own_templates():
    mine = prompts(useful="u {kind}", noisy="n {kind}")
    assert mine.render(KNOWN, useful=True, num_documents=1) == "u useful"
    assert mine.render(KNOWN, useful=False, num_documents=1) == "n noisy"


@pytest.mark.parametrize("shipped", [PROMPTED, TUNED], ids=["prompted", "tuned"])
@pytest.mark.parametrize("useful", [True, False])
def test_the_shipped_prompts_work_without_a_question(shipped, useful):
    prompt = shipped.render(UNKNOWN, useful=useful, num_documents=5)
    assert "who" in prompt and "None" not in prompt
    assert shipped.render(UNKNOWN, useful=not useful, num_documents=5) != prompt


def test_the_shipped_prompts_show_answers_for_useful_pages_only():
    for shipped in (PROMPTED, TUNED):
        assert "Ada / Countess" in shipped.render(KNOWN, useful=True, num_documents=5)
        assert "Ada" not in shipped.render(KNOWN, useful=False, num_documents=5)


def test_few_answers_has_at_most_three_with_plain_ones_first():
    many = replace(KNOWN, answers=("Ada (film)", "Ada", "Countess", "A. L.", "The Ada"))
    prompt = prompts(useful="{few_answers}").render(many, useful=True, num_documents=1)
    assert prompt == "Ada / Countess / A. L."


def test_a_template_that_needs_an_unknown_question_is_an_error():
    with pytest.raises(ValueError, match=r"needs \['answer'\].*move that sentence to `context`"):
        prompts(useful="{answer}").render(UNKNOWN, useful=True, num_documents=1)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"useful": "{qery}"}, "qery.*query"),
        ({"context": "{context}"}, "context"),
        ({"noisy": "{"}, "write {{ for a brace"),
        ({"noisy": "{}"}, "variable of the template"),
        ({"num_words": 0}, "num_words must be at least 1"),
    ],
)
def test_invalid_templates_are_refused(fields, match):
    with pytest.raises(ValueError, match=match):
        prompts(**fields)


def test_the_grounded_prompts_show_the_passage_and_ask_for_the_answer_on_useful_pages_only():
    for request, useful in ((KNOWN, True), (KNOWN, False), (UNKNOWN, True)):
        prompt = GROUNDED.render(request, useful=useful, num_documents=1, source="A {b} passage.")
        assert "A {b} passage." in prompt and "{source}" not in prompt
        assert ("Ada" in prompt) == (useful and request is KNOWN)


def test_prompts_with_a_passage_have_noise_because_the_passages_differ():
    assert prompts(useful="{source}", noisy="{source}").has_noise
    assert not prompts(useful="{query}", noisy="{query}").has_noise
