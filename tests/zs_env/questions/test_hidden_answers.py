"""Which gold answers a noisy document must not name."""

import pytest

from zs_env.questions.hidden_answers import hidden_answers


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
