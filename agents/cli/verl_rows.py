"""`zerosearch verl-rows`: writes questions as rows of a verl data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.env_pool import episode_seed
from agents.prompt_limits import PromptLimits
from agents.specs import spec_from_text
from agents.storage.output_folder import atomic_path
from envs_registry.shared_environment import SharedEnvironment
from envs_registry.verl import verl_row
from zs_env.questions.question import generates_questions
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class VerlRowsConfig(PromptLimits):
    """Write the questions of an environment as a data set for verl, one JSON object a line.

    The environment of the agent loop needs the same settings for long prompts.

    Attributes:
        output: file to write; verl requires the ending .jsonl.
        env: environment id.
        questions: a JSON spec, a kind, or a data file; the environment's own by default.
        data_source: name of the environment in the agent loop's configuration.
        count: number of first questions to write; all by default.
        noise: noise probability of these rows' episodes, for held-out rows; the environment of the
            loop decides by default.
        seed: gives each row a seed, so that its episodes are the same at every step and equal
            those of `zerosearch evaluate` with this seed; none by default.
    """

    output: Path
    env: str = "ZeroSearch-v0"
    questions: str | None = None
    data_source: str = "train"
    count: int | None = None
    noise: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_paths(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the rows; returns the exit status."""
    config = tyro.cli(VerlRowsConfig, prog="zerosearch verl-rows", args=argv)
    if config.output.suffix not in (".jsonl", ".json"):
        raise ValueError(f"--output is {config.output}; verl needs a name that ends in .jsonl")
    # Rows need no searches, so the engine need not exist yet.
    spec: dict[str, object] = {"id": config.env, "engine": {"kind": "none"}}
    if limits := config.prompt_limits():
        spec["limits"] = limits
    if config.questions is not None:
        spec["questions"] = spec_from_text(config.questions, role="questions")
    env = SharedEnvironment(spec).make()
    if config.count is None and generates_questions(env.questions):
        raise ValueError(
            f"{config.env} has {env.num_questions:,} questions; pass the number to write as --count"
        )
    count = env.num_questions if config.count is None else min(config.count, env.num_questions)
    with (
        atomic_path(config.output) as temporary,  # a whole file, or none
        temporary.open("w", encoding="utf-8") as file,
    ):
        for index in range(count):
            row = verl_row(
                env,
                index,
                data_source=config.data_source,
                noise_probability=config.noise,
                seed=None if config.seed is None else episode_seed(config.seed, index),
            )
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    Console(stderr=True).print(f"{config.output}: {count:,} rows", highlight=False)
    return 0
