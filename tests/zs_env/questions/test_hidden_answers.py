"""Which gold answers a noisy document must not name."""

import pytest

from zs_env.questions.question import hidden_answers


@pytest.mark.parametrize(
    ("question", "answers", "hidden"),
    [
        ("Who wrote Faust?", ("Goethe", "Johann Goethe"), ("Goethe", "Johann Goethe")),
        ("Is Oslo a capital?", ("yes",), ()),
        ("Which is older, Oslo or Bergen?", ("oslo", "Christiania"), ()),
        ("Is Oslo's harbour or Bergen's deeper?", ("Oslo",), ()),
        # An alias that a data set lists does not make a comparison.
        ("Where is Venus seen from the Sun?", ("below the Sun", "Sun"), ("below the Sun", "Sun")),
        ("Who was at Osloborg?", ("Oslo",), ("Oslo",)),
        (None, ("Goethe",), ("Goethe",)),
        ("Who wrote Faust?", None, ()),
        ("Who wrote Faust?", (), ()),
    ],
)
def test_an_answer_is_hidden_unless_the_question_names_it_or_it_is_yes_or_no(
    question, answers, hidden
):
    assert hidden_answers(question, answers) == hidden
