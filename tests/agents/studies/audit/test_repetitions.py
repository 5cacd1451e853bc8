"""Questions that occur twice in a set, or in two sets."""

from agents.studies.audit.repetitions import Repetition, find_repetitions
from zs_env.questions.question import Question


def _questions(*rows):
    return [
        Question(id=f"q{number}", text=text, answers=answers)
        for number, (text, *answers) in enumerate(rows)
    ]


def test_copies_name_the_first_question_and_say_whether_they_are_exact():
    found = find_repetitions(
        _questions(
            ("Who built it?", "Ann"),
            ("who built  it", "Ann"),
            ("Who built it?", "ann", "Bob"),
            ("Who sank it?", "Ann"),
        ),
        {},
    )
    assert [(one.repeats, one.exact) for one in found] == [
        ("", False),
        ("q0", False),
        ("q0", True),
        ("", False),
    ]
    assert not any(one.conflicting for one in found)


def test_answers_conflict_if_two_copies_share_none():
    found = find_repetitions(
        _questions(
            ("Who?", "Ann", "Bob"),
            ("who?", "the bob", "Cy"),
            ("Who", "Cy"),  # shares none with the first
            ("Whom?", "Dan"),
        ),
        {},
    )
    assert [one.conflicting for one in found] == [True, False, True, False]


def test_only_punctuation_and_articles_do_not_make_questions_equal():
    found = find_repetitions(_questions(("???", "Ann"), ("The?", "Ann"), ("???", "Bob")), {})
    assert [one.repeats for one in found] == ["", "", "q0"]


def test_overlap_names_every_other_set_with_the_normalized_text():
    train = _questions(("who built the tower", "Ann"), ("Who sank it?", "Bob"))
    dev = _questions(("Who built tower?", "Cy"))
    found = find_repetitions(
        _questions(("Who built the tower?", "Ann"), ("Who sank it?", "Bob"), ("Why?", "x")),
        {"train": train, "dev": dev},
    )
    assert [one.also_in for one in found] == [("train", "dev"), ("train",), ()]
    assert find_repetitions([], {"train": train}) == []


def test_scripts_without_spaces_are_compared_without_their_punctuation():
    found = find_repetitions(_questions(("東京はどこ\uff1f", "日本"), ("東京はどこ", "日本")), {})
    assert found[1] == Repetition(repeats="q0")
