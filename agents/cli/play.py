"""`zerosearch play`: a person is the policy.

A line is a query; a line that begins with "=" is the answer; a line with tags is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import tyro

from agents.specs import spec_from_text

HINT = "A line is a query. '= Paris' answers. An empty line gives up. Ctrl-D ends the game."


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """Answer questions yourself, with the search engine that the agents have.

    Attributes:
        env: environment id.
        episodes: questions to play; 0 for no end.
        seed: of the questions and the engine's luck; drawn anew by default.
        noise: chance in [0, 1] that a search returns noise; the environment's own by default.
        questions: in place of the environment's: a JSON spec, a kind, or a data file.
        engine: in place of the environment's: a JSON spec, a kind, or a passage file.
    """

    env: str = "ZeroSearch-v0"
    episodes: int = 0
    seed: int | None = None
    noise: float | None = None
    questions: str | None = None
    engine: str | None = None


def action_from_line(line: str) -> str:
    """Turn what a person typed into an agent's text."""
    line = line.strip()
    if "</search>" in line or "</answer>" in line:
        return line
    if line.startswith("="):
        return f"<answer>{line[1:].strip()}</answer>"
    return f"<search>{line}</search>"


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the questions or the person's wish to go on end; returns 0."""
    config = tyro.cli(PlayConfig, prog="zerosearch play", args=argv)
    settings: dict[str, Any] = {}
    if config.questions is not None:
        settings["questions"] = spec_from_text(config.questions, role="questions")
    if config.engine is not None:
        settings["engine"] = spec_from_text(config.engine, role="engine")
    env = gymnasium.make(config.env, **settings)
    options = {} if config.noise is None else {"noise_probability": config.noise}
    print(HINT)
    rewards: list[float] = []
    seed = config.seed
    try:
        while not config.episodes or len(rewards) < config.episodes:
            reward = _play_question(env, seed=seed, options=options)
            if reward is not None:
                rewards.append(reward)
            seed = None  # further questions follow from the first one's seed
    except (EOFError, KeyboardInterrupt):
        print("\nGood bye.")
    finally:
        env.close()
    if rewards:
        print(f"{len(rewards)} played, mean reward {sum(rewards) / len(rewards):.3f}.")
    return 0


def _play_question(
    env: gymnasium.Env, *, seed: int | None, options: dict[str, Any]
) -> float | None:
    """Play one episode and return its reward; None where the engine failed."""
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
        print(f"The search engine failed: {info['failure']}. This one does not count.")
        return None
    if info["reason"] == "turn_limit":
        print("That was the last turn.")
    print(f"Reward {float(reward):.3f}. Gold: {' | '.join(info['answers'])}")
    return float(reward)
