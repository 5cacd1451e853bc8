"""`zerosearch play`: a person acts in place of the agent.

A line is a query; a line that begins with "=" is the answer; a line with tags is the action itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import tyro

from agents.evaluation.settings import specs_from_flags
from agents.noise_kinds import NoiseKindsFlag
from agents.prompt_limits import PromptLimits
from agents.specs import served_models
from agents.tool_flags import ToolsFlag
from zs_env.actions import TOOLS

HINT = "Enter a query, or '= Paris' to answer. An empty line gives up; Ctrl-D quits."


@dataclass(frozen=True, kw_only=True)
class PlayConfig(PromptLimits, NoiseKindsFlag, ToolsFlag):
    """Answer questions yourself, with the search engine of the agents.

    Attributes:
        env: environment id.
        episodes: questions to play; 0 for no limit.
        seed: of the questions and the noise; random by default.
        noise: noise probability of a search, in [0, 1]; the environment's own by default.
        questions: replaces the environment's: a JSON spec, a kind, or a data file.
        engine: replaces the environment's: a JSON spec, a kind, or a passage file.
    """

    env: str = "ZeroSearch-v0"
    episodes: int = 0
    seed: int | None = None
    noise: float | None = None
    questions: str | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.noise_settings()
        self.tool_settings()


def action_from_line(line: str) -> str:
    """Convert a typed line to an action."""
    line = line.strip()
    if any(f"</{name}>" in line for name in (*TOOLS, "answer")):
        return line
    if line.startswith("="):
        return f"<answer>{line[1:].strip()}</answer>"
    return f"<search>{line}</search>"


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the questions end or the person quits; returns 0."""
    config = tyro.cli(PlayConfig, prog="zerosearch play", args=argv)
    specs = specs_from_flags(
        questions=config.questions, engine=config.engine, limits=config.prompt_limits()
    )
    served_models(specs)
    settings = {**config.noise_settings(), **config.tool_settings()}
    env = gymnasium.make(config.env, **specs, **settings)
    options = {} if config.noise is None else {"noise_probability": config.noise}
    print(HINT)
    rewards: list[float] = []
    seed = config.seed
    try:
        while not config.episodes or len(rewards) < config.episodes:
            reward = _play_question(env, seed=seed, options=options)
            if reward is not None:
                rewards.append(reward)
            seed = None  # the seed of the first question determines the others
    except (EOFError, KeyboardInterrupt):
        print("\nGoodbye.")
    finally:
        env.close()
    if rewards:
        print(f"{len(rewards)} played, mean reward {sum(rewards) / len(rewards):.3f}.")
    return 0


def _play_question(
    env: gymnasium.Env, *, seed: int | None, options: dict[str, Any]
) -> float | None:
    """Play one episode and return its reward; None if the engine failed."""
    observation, info = env.reset(seed=seed, options=options)
    print(f"\nQuestion: {observation['question']}")
    over, reward = False, 0.0
    while not over:
        line = input("> ")
        text = action_from_line(line) if line.strip() else "<answer>unknown</answer>"
        observation, reward, terminated, truncated, info = env.step(text)
        over = terminated or truncated
        if observation["message"]:
            print(observation["message"].strip())
    if info["failure"]:
        print(f"The episode failed: {info['failure']}. This question does not count.")
        return None
    if info["reason"] == "turn_limit":
        print("That was the last turn.")
    print(f"Reward {float(reward):.3f}. Gold: {' | '.join(info['answers'])}")
    return float(reward)
