import pytest

from agents.llm.learner.optimizer import OptimizerConfig, learning_rate_factor


def _rates(total, **settings):
    config = OptimizerConfig(lr=2.0, **settings)
    return [config.lr * learning_rate_factor(config, update, total) for update in range(total + 1)]


def test_schedules_by_hand():
    assert _rates(4) == [2.0] * 5
    assert _rates(4, schedule="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    assert _rates(2, schedule="cosine", final_lr_fraction=0.5) == pytest.approx([2.0, 1.5, 1.0])


def test_warm_up_rises_to_the_peak_and_the_schedule_begins_there():
    rates = _rates(6, warmup_updates=2, schedule="linear")
    assert rates == pytest.approx([1.0, 2.0, 2.0, 1.5, 1.0, 0.5, 0.0])


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="lr is 0"):
        OptimizerConfig(lr=0)
