import pytest

from zs_env.search.types import SearchRequest
from zs_env.simulator.checks import failed_checks

FILLER = "some words that say nothing of note"  # seven words


def check(texts, *, useful, answers=("Ada Lovelace", "Ada"), wanted=None):
    return failed_checks(
        texts,
        SearchRequest("q", "Q?", answers, (useful,), 1),
        useful=useful,
        num_documents=len(texts) if wanted is None else wanted,
        num_words=7,
    )


def test_a_useful_page_contains_any_alias_of_the_answer():
    assert check([FILLER, f"it was Ada, {FILLER} more"], useful=True) == [(), ()]
    assert check([FILLER, f"it was Adam, {FILLER} more"], useful=True) == [("no_answer",)] * 2


def test_a_noisy_document_contains_no_answer():
    assert check([FILLER, f"ada lovelace {FILLER}"], useful=False) == [(), ("leak",)]


@pytest.mark.parametrize("answers", [None, (), ("yes",), ("no",)])
@pytest.mark.parametrize("useful", [True, False])
def test_unknown_and_yes_no_answers_are_not_checked(answers, useful):
    assert check([f"yes no {FILLER}"], useful=useful, answers=answers) == [()]


def test_a_noisy_document_may_name_an_answer_that_the_question_names():
    request = SearchRequest("q", "Is Ada or Eve older?", ("Ada",), (False,), 1)
    texts = [f"it was Ada, {FILLER}", f"it was Eve, {FILLER}"]
    fields = {"num_documents": 2, "num_words": 7}
    assert failed_checks(texts, request, useful=False, **fields) == [(), ()]


def test_too_few_documents_fail_the_count():
    assert check([FILLER], useful=False, wanted=2) == [("count",)]


@pytest.mark.parametrize(("words", "fails"), [(2, True), (3, False), (21, False), (22, True)])
def test_length_is_a_third_to_three_times_the_requested_length(words, fails):
    text = " ".join(f"w{number}" for number in range(words))
    assert check([text], useful=False) == [("length",) if fails else ()]


@pytest.mark.parametrize("tag", ["<search>", "</answer>", "<|im_end|>", "[INST]"])
def test_control_tags_are_found(tag):
    assert check([f"{FILLER} {tag}"], useful=False) == [("control_tags",)]


def test_repetition_within_and_between_documents_is_found():
    assert check([FILLER, f"The {FILLER}!"], useful=False) == [(), ("repetition",)]
    assert check(["one two three " * 3], useful=False) == [()]
    assert check(["one two three " * 4], useful=False) == [("repetition",)]


@pytest.mark.parametrize(
    "thought",
    [
        "should mention Oslo.",
        "The user wants five documents about the city of Oslo.",
        "too. I must not say that I was given the answer.",
        "We need to write about the capital in plain words.",
        "Okay, let's draft the second one about the fjord.",
        "Doc 3: should be about something else entirely here.",
        "It must not contain the information that is needed.",
    ],
)
def test_thinking_without_tags_is_found(thought):
    assert "instructions" in check([thought], useful=False)[0]


@pytest.mark.parametrize(
    "text",
    [
        "The user interface of the app was praised by many.",
        "We can see the lake from the tower in the town.",
        "He said that the answer lies in the valley itself.",
        "Visitors should book early, and must bring a valid ticket.",
    ],
)
def test_ordinary_sentences_are_not_taken_for_thinking(text):
    assert check([text], useful=False) == [()]
