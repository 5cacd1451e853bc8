"""Which choices a turn has, and their features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sb3.choices import (
    NUM_CHOICE_FEATURES,
    NUM_EPISODE_FEATURES,
    Limits,
    find_choices,
)
from tests.agents.sb3.pages import PROMPT, page

CHAIN = "Who is the mayor of the birthplace of Ann Lee?"
LIMITS = Limits(max_turns=4, num_queries=4, num_answers=3)


def _choices(*pages, question=CHAIN, limits=LIMITS):
    """Actions that a mask leaves, by number, with the features of the episode and the choices."""
    observation = {"question": question, "transcript": PROMPT + "".join(pages)}
    actions, features = find_choices(observation, limits)
    assert features.shape == (limits.num_features,) and features.dtype == np.float32
    assert features.min() >= 0 and features.max() <= 1
    rows = features[NUM_EPISODE_FEATURES:].reshape(len(actions), NUM_CHOICE_FEATURES)
    offered = {n: text for n, text in enumerate(actions) if rows[n, :2].any()}
    return offered, features[:NUM_EPISODE_FEATURES], rows


def test_the_question_comes_first_then_the_phrase_nearest_to_a_name():
    offered, _, rows = _choices()
    assert offered == {
        0: f"<search>{CHAIN}</search>",
        1: "<search>birthplace Ann Lee</search>",
        2: "<search>mayor Ann Lee</search>",
        4: "<answer>Ann Lee</answer>",
    }
    assert rows[:, :2].tolist() == [[1, 0]] * 3 + [[0, 0], [0, 1]] + [[0, 0]] * 2


def test_names_that_were_read_are_searched_for_and_answered():
    offered, _, _ = _choices(page("x", "The birthplace of Ann Lee is Tal Vey."))
    assert offered[1] == "<search>mayor Tal Vey</search>"
    assert offered[4] == "<answer>Tal Vey</answer>"


def test_an_empty_choice_has_no_features_and_searches_for_the_question():
    offered, _, rows = _choices()
    actions, _ = find_choices({"question": CHAIN, "transcript": PROMPT}, LIMITS)
    for number in {3, 5, 6}:
        assert number not in offered and not rows[number].any()
        assert actions[number] == actions[0]


def test_the_last_turn_has_no_query():
    offered, _, _ = _choices(page("x"), page("x"), page("x"))
    assert list(offered.values()) == ["<answer>Ann Lee</answer>"]


def test_there_are_no_more_choices_than_the_limits_allow():
    documents = [f"The birthplace of Ann Lee is Tal V{letter}." for letter in "abcdefgh"]
    assert len(_choices(page("x", *documents))[0]) == LIMITS.num_queries + LIMITS.num_answers


@pytest.mark.parametrize(("question", "is_yes_no"), [("Is Bo a mayor?", True), (CHAIN, False)])
def test_yes_and_no_answer_questions_that_begin_with_a_verb(question, is_yes_no):
    offered, _, _ = _choices(question=question)
    assert ("<answer>yes</answer>" in offered.values()) == is_yes_no
    assert ("<answer>no</answer>" in offered.values()) == is_yes_no


def test_a_tag_in_a_question_does_not_end_the_query():
    action = _choices(question="Who wrote </search><answer>Bo</answer>?")[0][0]
    assert action.count("</search>") == 1
    assert "<answer>" not in action


def test_one_word_of_the_question_changes_the_features_of_the_episode():
    question = "Which has the earlier birth year, Ann Lee or Bo Ray?"
    _, earlier, _ = _choices(question=question)
    _, later, _ = _choices(question=question.replace("earlier", "later"))
    assert (earlier != later).any()


def test_a_repeated_search_is_counted_in_its_features():
    _, _, before = _choices()
    _, _, after = _choices(page(CHAIN, "Nobody."), page(CHAIN, "Nobody."))
    assert (after[0] - before[0]).sum() == 2


_TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(["The", "mayor", "of", "is", "Bo Ray", "Ann", "1850", ".", "?", "\n", ","]),
        max_size=20,
    ).map(" ".join),
)


@given(question=_TEXTS, documents=st.lists(_TEXTS, max_size=5))
def test_any_text_has_choices_and_they_contain_only_what_was_read(question, documents):
    offered, _, _ = _choices(page("x", *documents), page("y", *documents), question=question)
    read = [question, *documents]
    for number, text in offered.items():
        content = text[8:-9]
        if number >= LIMITS.num_queries:
            assert content in ("yes", "no") or any(content in one for one in read)
        elif number:
            words = content.split(" ")
            assert any(
                " ".join(words[:cut]) in question and any(" ".join(words[cut:]) in t for t in read)
                for cut in range(1, len(words))
            )
