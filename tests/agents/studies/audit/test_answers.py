"""Suspicious gold answers, and how often passages contain an answer."""

import pytest

from agents.studies.audit.answers import (
    FREQUENT_SHARE,
    ISSUES,
    LONG_WORDS,
    answer_frequency,
    find_issues,
    is_mojibake,
    passages_with,
)
from zs_env.engines.retrieval.passage_file import Passage
from zs_env.metrics import contains_answer
from zs_env.questions.question import Question


def _question(*answers, text="Who built the tower?"):
    return Question(id="q", text=text, answers=answers)


@pytest.mark.parametrize(
    ("question", "issues"),
    [
        (_question("Ann Lee"), ()),
        (_question("!!!"), ("empty",)),
        (_question("Ann Lee", "The The"), ("empty",)),
        (_question(" ".join("w" * (1 + n) for n in range(LONG_WORDS + 1))), ("long",)),
        (_question(" ".join("w" * (1 + n) for n in range(LONG_WORDS))), ()),
        # One short alias is enough for an exact match.
        (_question(" ".join("w" * (1 + n) for n in range(LONG_WORDS + 1)), "w"), ()),
        (_question("tower"), ("in question",)),
        (_question("tow"), ()),  # not a whole word
        (_question("yes", text="yes or no?"), ("yes/no",)),
        (_question("No.", "no"), ("yes/no", "equal aliases")),
        (_question("Ann Lee", "the ann lee!"), ("equal aliases",)),
        (_question("Ann Lee", "Bob", "Ann"), ()),
        (_question("BjÃ¶rk"), ("damaged",)),
        (_question("Ann\ufffdLee"), ("damaged",)),
        (_question("Ann", text="Who built\x00 it?"), ("damaged",)),
        (_question("Björk", "東京", "Ærø", "Łódź", "“Ann”", "naïve façade"), ()),
        (_question("Smith &amp; Sons"), ("markup",)),
        (_question("Ann<br/>Lee"), ("markup",)),
        (_question("a < b & c > d"), ()),
        (_question("東京", text="東京はどこ\uff1f"), ("in question",)),
    ],
)
def test_each_issue_is_found_and_only_it(question, issues):
    assert find_issues(question, frequency=0.0) == issues
    assert set(issues) <= set(ISSUES)


def test_an_answer_is_frequent_from_the_limit_on_unless_it_is_yes_or_no():
    assert find_issues(_question("Ann"), frequency=FREQUENT_SHARE) == ("frequent",)
    assert find_issues(_question("Ann"), frequency=FREQUENT_SHARE / 2) == ()
    assert find_issues(_question("no"), frequency=1.0) == ("yes/no",)


@pytest.mark.parametrize("text", ["é", "東京", "Ünïcödé", "Zoë\u2019s", "Привет", "ÃÂ"])
def test_ordinary_text_is_not_mojibake_and_its_damaged_copy_is(text):
    assert not is_mojibake(text)
    assert is_mojibake(text.encode().decode("latin-1"))


PASSAGES = [
    Passage("0", "Tower", "Ann Lee built it in 1900."),
    Passage("1", "The Ann", "Leeward of the sea."),
    Passage("2", "", "ann-lee; and ANN LEE!"),
    Passage("3", "東京", "日本の首都。"),
]
ANSWERS = ["Ann Lee", "ann", "The ANN", "Lee", "1900", "190", "首都", "京", "tower ann", "!!", "x"]


def test_passages_with_an_answer_are_those_that_contain_it_as_whole_words():
    found = passages_with(ANSWERS, PASSAGES)
    # "ann-lee" without punctuation is one word.
    assert found["ann lee"] == {0, 2} and found["ann"] == {0, 1, 2} and found["1900"] == {0}
    assert "190" not in found and "x" not in found and "" not in found
    for answer in ANSWERS:
        if answer != "!!":
            expected = [contains_answer(f"{one.title} {one.text}", answer) for one in PASSAGES]
            assert answer_frequency([answer], found, 4) == sum(expected) / 4


def test_the_frequency_of_several_answers_counts_each_passage_once():
    found = passages_with(ANSWERS, PASSAGES)
    assert answer_frequency(["Ann Lee", "ann", "首都"], found, 4) == 1.0
    assert answer_frequency(["Ann Lee", "1900"], found, 4) == 0.5
    assert answer_frequency(["!!", "x"], found, 4) == 0.0
