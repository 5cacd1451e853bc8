import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.evaluator import Evaluator
from zs_env import Question, Transcript
from zs_env.actions import Answer
from zs_env.transcripts.transcript import Turn


def _episode(answer: str) -> Transcript:
    return Transcript(
        question=Question(id="q", text="?", answers=("right",)),
        prompt="",
        reason="answer",
        turns=(Turn(action=Answer(answer), text=f"<answer>{answer}</answer>"),),
    )


RIGHT, WRONG = _episode("right"), _episode("wrong")
FAILED = replace(RIGHT, failure="timeout", reason="failure")


def _score(*settings: list[Transcript], **config: Any) -> float:
    """Score of an evaluation whose episodes were played by two ranks."""
    names = [SimpleNamespace(name=f"setting {n}") for n in range(len(settings))]
    evaluator: Any = SimpleNamespace(_config=TrainConfig.of(**config), settings=names)
    shares = [[part[:1] for part in settings], [part[1:] for part in settings]]
    return Evaluator.aggregate(evaluator, shares)[-1]


def test_checkpoints_are_compared_on_equal_numbers_of_questions() -> None:
    config = {"eval_episodes": 2, "final_episodes": 4}
    assert _score([RIGHT, WRONG], **config) == 0.5  # during the run
    assert _score([RIGHT, WRONG, RIGHT, RIGHT], **config) == 0.5  # at the end
    assert _score([WRONG, WRONG, RIGHT, RIGHT], **config) == 0.0
    assert _score([RIGHT, WRONG, WRONG], eval_episodes=3, final_episodes=1) == 1.0


def test_the_score_is_the_mean_over_the_settings() -> None:
    config = {"eval_episodes": 2, "final_episodes": 2}
    assert _score([RIGHT, RIGHT], [RIGHT, WRONG], **config) == 0.75
    assert _score([FAILED, RIGHT], [WRONG, WRONG], **config) == 0.5
    assert math.isnan(_score([FAILED, FAILED], [RIGHT, RIGHT], **config))
