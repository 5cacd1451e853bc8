"""Any completion can be parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.prompted.free_text import answer_in, first_move


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        (" **Paris**.\nIt lies on the Seine.", "Paris"),
        ("It lies on the Seine.\nAnswer: Paris.", "Paris"),
        ('**Final Answer:** "Paris"', "Paris"),
        ("Answer: Rome\nNo, wait.\nThe answer is: Paris", "Paris"),
        ("Answer:\n\n  Paris\n", "Paris"),
        ("So the answer is Paris.", "Paris"),
        ('The answer to this question is: "Paris"', "Paris"),
        (r"Hence \boxed{Paris}.", "Paris"),
        ("<answer> Paris </answer> Answer: Rome", "Paris"),
        ("<answer>Paris", "Paris"),
        ("<think>Answer: Rome</think>\nParis", "Paris"),
        ("答え\uff1a\nAnswer\uff1a パリ", "パリ"),
        ("Answer:", "Answer:"),
        ("<think>Paris, I think</think>", "Paris, I think"),
        ("The answer depends on many things", "The answer depends on many things"),
    ],
)
def test_an_answer_is_found_in_free_text(text, answer):
    assert answer_in(text, otherwise="first") == answer


def test_a_whole_line_is_the_fallback():
    assert answer_in("\n- one\ntwo\n", otherwise="first") == "- one"
    assert answer_in("one\n**two**\n\n", otherwise="last") == "two"
    assert answer_in(" \n**\n", otherwise="last") is None


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ("I need the date.\nSearch: date of it\nAnswer: 1931", ("search", "date of it")),
        ("Answer: 1931\nSearch: more", ("answer", "1931")),
        ('**Search Query:** "who built it"', ("search", "who built it")),
        ("Next step: Search: who built it", ("search", "who built it")),
        ("2. Search for: it", ("search", "it")),
        ("<search>who</search> Answer: no", ("search", "who")),
        ("Search:\nwho built it", ("search", "who built it")),
        ("<think>Search: a</think>Answer: b", ("answer", "b")),
        ("Search:", None),
        ("Let me search: who knows", None),
        ("Research: a story", None),
    ],
)
def test_the_first_move_counts(text, move):
    found = first_move(text)
    assert (found and (found.kind, found.text)) == move


def test_the_text_before_a_move_is_its_thought():
    move = first_move("<think>Hm.</think>I need the date.\nSearch: date")
    assert move is not None and move.thought == "Hm.\nI need the date."


@given(st.text(alphabet=st.sampled_from("Answer: Search<>/answersearchthink\n*\\boxed{} .x")))
def test_any_text_can_be_parsed(text):
    answer = answer_in(text, otherwise="last")
    assert answer is None or (answer.strip() and "\n" not in answer)
    move = first_move(text)
    assert move is None or move.text.strip()
