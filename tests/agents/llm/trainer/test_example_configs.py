"""The TOML files among the examples are runs that the trainer accepts."""

import json

import pytest

from agents.cli.training.train import parse_arguments
from tests.paths import ROOT
from zs_env.config import build_engine

CONFIGS = sorted((ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_example_is_a_run(path, tmp_path):
    config = parse_arguments(["--config", str(path), "--policy", "mine"])
    assert config.model.policy == "mine"
    assert (
        config.noise.schedule(config.run.steps).probability(config.run.steps - 1)
        == config.noise.noise_end
    )
    if path.name.startswith("real_questions"):
        assert config.environment.engine == "paragraphs"
        assert config.run.steps >= 60
        assert config.evaluation.final_episodes >= 200
    elif path.name == "real_text.toml":
        assert config.environment.engine is None  # the user's passages, by --engine
        rollouts = config.rollouts
        assert config.run.steps * rollouts.questions_per_step * rollouts.group_size >= 4000
    else:
        assert config.run.steps >= 20
        assert config.environment.engine is not None
        cache = build_engine(
            json.loads(config.environment.engine) | {"path": str(tmp_path / "pages")}, []
        )
        assert cache.fingerprint.count("tuned")
        cache.close()


def test_the_run_on_a_gpu_is_a_long_one():
    (path,) = [path for path in CONFIGS if path.name == "real_questions_gpu.toml"]
    config = parse_arguments(["--config", str(path), "--policy", "mine"])
    assert config.run.steps >= 300


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_examples_choose_the_precision_by_measuring(path):
    config = parse_arguments(["--config", str(path), "--policy", "mine"])
    assert config.optimizer.autocast == config.generation.rollout_dtype == "auto"


def test_there_are_examples_for_a_cpu_a_gpu_and_a_simulator():
    real = ["real_questions.toml", "real_questions_gpu.toml", "real_text.toml"]
    assert [path.name for path in CONFIGS] == [*real, "simulated_search.toml"]
