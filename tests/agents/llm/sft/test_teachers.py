"""Demonstrations for a warm start: right ones, on a world's questions too."""

from itertools import islice
from pathlib import Path

import pytest

from agents.llm.sft.config import WarmStartConfig
from agents.llm.sft.teachers import answer_at_once, play_demonstrations
from zs_env.actions import Answer
from zs_env.episode import EpisodeConfig
from zs_env.questions.question import Question


def config(**settings):
    return WarmStartConfig(
        **{"policy": "p", "questions": ("world",), "output": Path("o"), **settings}
    )


def test_on_a_world_the_teacher_searches_and_is_right_or_there_is_no_demonstration():
    shown = list(islice(play_demonstrations(config(max_turns=3, max_noise=1.0)), 40))
    right = [transcript for transcript in shown if transcript is not None]
    # Three turns and this much noise are too few for some.
    assert 0 < len(right) < len(shown)
    assert all(transcript.scores()["exact_match"] == 1 for transcript in right)
    assert all(transcript.num_searches > 0 for transcript in right)
    assert len({transcript.question.id for transcript in right}) == len(right)


def test_without_turns_to_search_in_the_teacher_answers_from_what_it_knows():
    shown = list(islice(play_demonstrations(config(max_turns=1)), 5))
    assert all(len(t.turns) == 1 and t.scores()["exact_match"] == 1 for t in shown if t)
    assert all(transcript is not None for transcript in shown)


def test_the_answer_at_once_is_the_first_gold_one():
    question = Question(id="q", text="Who?", answers=("Ann Lee", "A. Lee"))
    transcript = answer_at_once(question, EpisodeConfig(max_turns=1))
    assert transcript.turns[0].action == Answer("Ann Lee")
    assert transcript.num_searches == 0


@pytest.mark.parametrize("max_turns", [1, 3])
def test_the_same_settings_give_the_same_demonstrations(max_turns):
    one, other = (
        list(islice(play_demonstrations(config(max_turns=max_turns)), 8)) for _ in range(2)
    )
    assert one == other
