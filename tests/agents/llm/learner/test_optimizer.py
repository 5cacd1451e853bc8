import re
import tomllib

import pytest
import torch

from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.optimizer import learning_rate_factor
from tests.paths import ROOT


def _rates(total, **settings):
    config = OptimizerConfig(learning_rate=2.0, **settings)
    return [
        config.learning_rate * learning_rate_factor(config, update, total)
        for update in range(total + 1)
    ]


def test_schedules_by_hand():
    assert _rates(4) == [2.0] * 5
    assert _rates(4, lr_schedule="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    assert _rates(2, lr_schedule="cosine") == pytest.approx([2.0, 1.0, 0.0])


def test_warm_up_rises_to_the_peak_and_the_schedule_begins_there():
    rates = _rates(6, warmup_steps=2, lr_schedule="linear")
    assert rates == pytest.approx([1.0, 2.0, 2.0, 1.5, 1.0, 0.5, 0.0])


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="learning_rate is 0"):
        OptimizerConfig(learning_rate=0)


def test_claimed_versions_of_torch_have_the_optimizers():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in ("train", "tune", "gguf"):
        (claimed,) = re.findall(r"torch>=(\d+)\.(\d+)", " ".join(extras[extra]))
        assert tuple(map(int, claimed)) >= (2, 9)  # the first with torch.optim.Muon
    assert hasattr(torch.optim, "Muon")
