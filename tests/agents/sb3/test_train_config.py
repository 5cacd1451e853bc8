"""Settings of a training."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.sb3.train_config import TrainSB3Config


def test_the_held_out_world_is_the_default_and_other_sets_must_be_named():
    assert TrainSB3Config().env_kwargs(held_out=True)["questions"]["split"] == "heldout"
    questions = TrainSB3Config(questions='{"kind": "world", "seed": 7}').env_kwargs(held_out=True)
    assert questions["questions"] == {"kind": "world", "seed": 7, "split": "heldout"}
    from_file = TrainSB3Config(questions="mine.jsonl")
    with pytest.raises(ValueError, match="--eval-questions"):
        from_file.env_kwargs(held_out=True)
    named = replace(from_file, eval_questions="theirs.jsonl").env_kwargs(held_out=True)
    assert named["questions"] == {"kind": "file", "path": "theirs.jsonl"}


def test_flags_that_do_not_shape_the_training_may_change_on_resume():
    config = TrainSB3Config(noise=0.5)
    moved = replace(config, resume=True, eval_episodes=3, output=Path("moved"))
    assert moved.fixed_settings() == config.fixed_settings()
    assert replace(config, noise=0.25).fixed_settings() != config.fixed_settings()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"noise": 1.5}, "noise"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"num_queries": 0}, "num_queries"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, hint):
    with pytest.raises(ValueError, match=hint):
        TrainSB3Config(**wrong)
