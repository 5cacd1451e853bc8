"""Which gold answers a noisy document must not name."""

import pytest

from zs_env.questions.hidden_answers import chooses_document, hidden_answers, wrong_answer
from zs_env.text.wrong_answers import WrongAnswers


@pytest.mark.parametrize(
    ("question", "answers", "hidden"),
    [
        ("Who wrote Faust?", ("Goethe", "Johann Goethe"), ("Goethe", "Johann Goethe")),
        ("Is Oslo a capital?", ("yes",), ()),
        ("Which is older, Oslo or Bergen?", ("oslo", "Christiania"), ()),
        ("Is Oslo's harbour or Bergen's deeper?", ("Oslo",), ()),
        # The answer is a longer form of a name beside the "or".
        ("Who is older, Ann Lee or Bo Ray?", ("Ann Maria Lee",), ()),
        ("Is Ann Lee or the Bo Ray taller?", ("The Bo Ray (tower)",), ()),
        ("Which is a sea, A Ba, Ce or De Fe?", ("Sea of Ce",), ()),
        ("Which college or university was it?", ("Boston University",), ("Boston University",)),
        # A question that names its answer and compares nothing.
        ("What is in a lead acid battery?", ("Lead", "water"), ("water",)),
        ("Is it lead or acid?", ("Lead", "water"), ()),
        ("Of lead and acid, which is a metal?", ("Lead", "water"), ()),
        ("Who knew Ann Lee, or was it rain?", ("Ann Maria Ray",), ("Ann Maria Ray",)),
        # An alias that a data set lists does not make a comparison.
        ("Where is Venus seen from the Sun?", ("below the Sun", "Sun"), ("below the Sun", "Sun")),
        ("Who was at Osloborg?", ("Oslo",), ("Oslo",)),
        (None, ("Goethe",), ("Goethe",)),
        ("Who wrote Faust?", None, ()),
        ("Who wrote Faust?", (), ()),
    ],
)
def test_an_answer_is_hidden_unless_it_is_yes_or_no_or_the_question_compares(
    question, answers, hidden
):
    assert hidden_answers(question, answers) == hidden


@pytest.mark.parametrize(
    ("question", "answer", "chooses"),
    [
        ("Out of John Waite and Bo Soto, who is older?", "John Charles Waite", True),
        ("Out of John Waite and Bo Soto, who is older?", "1952", False),
        ("When was John Waite born?", "John Charles Waite", False),
        (None, "John Charles Waite", False),
    ],
)
def test_a_question_chooses_a_document_if_it_names_two_and_one_may_be_the_answer(
    question, answer, chooses
):
    titles = ("John Waite (singer)", "Bo Soto", "Rome", "")
    assert chooses_document(question, [answer], titles) is chooses


def test_the_wrong_answer_of_a_comparison_is_a_name_and_neither_side():
    others = WrongAnswers([["Spider Man"], ["Batman"], ["Bat"], ["1984"], ["Ann Lee"], ["Bo"]])
    question = "Which came first, Spider-Man or Batman?"
    picked = {wrong_answer(question, ["Spider-Man", "Bo"], others, seed) for seed in range(30)}
    assert picked == {"Bat", "Ann Lee"}
    # Where the answer is hidden, the wrong one is like it.
    assert {wrong_answer("When?", ["1712"], others, seed) for seed in range(9)} == {"1984"}
    assert wrong_answer("When?", [], others, 0) is wrong_answer(None, None, others, 0) is None
