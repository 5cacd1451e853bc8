"""Demonstrations of a warm start end with the correct answer."""

from itertools import islice

import pytest

from agents.llm.sft.config import DemonstrationConfig
from agents.llm.sft.demonstrations import answer_at_once, play_demonstrations
from zs_env.actions import Answer
from zs_env.episode import EpisodeConfig
from zs_env.questions.question import Question


def test_demonstrations_on_a_world_search_and_have_the_correct_answer():
    played = list(
        islice(play_demonstrations(DemonstrationConfig(max_turns=3, max_noise=1.0), seed=0), 40)
    )
    correct = [transcript for transcript in played if transcript is not None]
    # Three turns and this much noise are too few for some.
    assert 0 < len(correct) < len(played)
    assert all(transcript.scores()["exact_match"] == 1 for transcript in correct)
    assert all(transcript.num_searches > 0 for transcript in correct)
    assert len({transcript.question.id for transcript in correct}) == len(correct)


def test_with_one_turn_the_teacher_answers_without_a_search():
    played = list(islice(play_demonstrations(DemonstrationConfig(max_turns=1), seed=0), 5))
    assert all(len(t.turns) == 1 and t.scores()["exact_match"] == 1 for t in played if t)
    assert all(transcript is not None for transcript in played)


def test_the_answer_at_once_is_the_first_gold_one():
    question = Question(id="q", text="Who?", answers=("Ann Lee", "A. Lee"))
    transcript = answer_at_once(question, EpisodeConfig(max_turns=1))
    assert transcript.turns[0].action == Answer("Ann Lee")
    assert transcript.num_searches == 0


@pytest.mark.parametrize("max_turns", [1, 3])
def test_the_same_settings_give_the_same_demonstrations(max_turns):
    config = DemonstrationConfig(max_turns=max_turns)
    one, other = (list(islice(play_demonstrations(config, seed=0), 8)) for _ in range(2))
    assert one == other


def test_noise_that_the_engine_cannot_produce_names_the_flag():
    config = DemonstrationConfig(engine='{"kind": "bm25"}', max_noise=0.25)
    with pytest.raises(ValueError, match=r"got --max-noise=0\.25, but the engine 'bm25'"):
        next(play_demonstrations(config, seed=0))
