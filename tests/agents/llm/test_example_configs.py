"""The TOML files among the examples are runs that the trainer accepts."""

from pathlib import Path

import pytest

from agents.llm.train_command import parse_arguments

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_example_is_a_run(path):
    config = parse_arguments(["--config", str(path), "--policy", "mine"])
    assert config.policy == "mine"
    assert config.engine == "paragraphs"
    assert config.steps >= 60
    assert config.final_episodes >= 200
    assert config.noise().probability(config.steps - 1) == config.noise_end


def test_there_are_examples_for_a_cpu_and_a_gpu():
    assert [path.name for path in CONFIGS] == ["real_questions.toml", "real_questions_gpu.toml"]
