"""Made-up results, and settings of runs that take a second."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from agents.cli.training.train import parse_arguments
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.setup import random_state, restore_random_state
from benchmarks.claims.results import RunResult
from tests.paths import ROOT

TINY = (
    *("--steps", "2", "--questions-per-step", "2", "--group-size", "2", "--max-turns", "3"),
    *("--eval-every", "0", "--eval-episodes", "2", "--final-episodes", "3"),
    # Rewards for the format: the answers of so few episodes would hardly differ.
    *("--reward", "r1_searcher_stage1"),
)


@pytest.fixture
def tiny_base(tmp_path: Path) -> TrainConfig:
    """The settings of the world, with fewer steps and episodes."""
    config = "benchmarks/claims/world.toml"
    root = ROOT
    output = str(tmp_path / "run")
    return parse_arguments(["--config", str(root / config), *TINY, "--output", output])


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Restores global state that training in this process changes."""
    threads, states = torch.get_num_threads(), random_state()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    restore_random_state(states)


def _make_result(arm: str, seed: int, *percents: int, budget: dict | None = None) -> RunResult:
    return RunResult(
        arm=arm,
        seed=seed,
        commit="abc",
        budget={"steps": 2} if budget is None else budget,
        percents={"noise 0": percents, "real engine": percents},
        searches={"noise 0": 1.0, "real engine": 2.0},
        failures=0,
        rewards=(0.1, 0.2),
        held_out={"noise 0": [(0, 0.2)], "real engine": [(0, 0.2), (2, 0.5)]},
        seconds=3,
        note="",
    )


@pytest.fixture
def make_result() -> Callable[..., RunResult]:
    """Makes a result of an arm and a seed with the given F1s, in percent, in both settings."""
    return _make_result
