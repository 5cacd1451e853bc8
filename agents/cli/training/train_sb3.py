"""`zerosearch train-sb3`: trains, then plays held-out questions beside two baselines.

Progress and the table go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gymnasium
import tyro
from rich.console import Console
from rich.table import Table

from agents.agent import Agent
from agents.baselines import RandomWords, SearchOnce
from agents.cli.flags import require_packages
from agents.evaluation.evaluate import evaluate
from agents.evaluation.progress import ProgressBar
from agents.sb3.train_config import TrainSB3Config
from agents.specs import served_models
from agents.storage.output_folder import folder_lock


def main(argv: Sequence[str]) -> int:
    """Run the subcommand and return its exit status."""
    config = tyro.cli(TrainSB3Config, args=list(argv), prog="zerosearch train-sb3")
    require_packages("train-sb3", "sb3", "stable_baselines3", "tensorboard")
    served_models(config.env_kwargs())
    if config.eval_episodes:  # raise before the training, not after it
        kwargs: Any = config.env_kwargs(held_out=True) | {"noise": max(config.eval_noise)}
        gymnasium.make(config.env, **kwargs, disable_env_checker=True).close()
    with folder_lock(config.output):
        return _run(config)


def _run(config: TrainSB3Config) -> int:
    from agents.sb3.training import ChoiceAgent, train

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = ProgressBar(console, "step", total=config.steps)
    started, cpu_started = time.perf_counter(), time.process_time()
    with bar:
        model = train(config, on_step=lambda n, reward: bar.update(n, f"reward {reward:.3f}"))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    agent = ChoiceAgent(model, config.limits)
    rows = _evaluate(config, agent, console) if config.eval_episodes else []
    result = {
        "algorithm": config.algorithm,
        "seed": config.seed,
        "steps": model.num_timesteps,
        "train_seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "folder": str(config.output),
        "evaluation": rows,
    }
    (config.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    if rows:
        console.print(_table(rows))
    console.print(
        f"{result['steps']} steps, {seconds:.0f} s; play it with zerosearch evaluate --agent "
        f"{config.output}"
    )
    if config.json:
        print(json.dumps(result), flush=True)
    return 0


def _evaluate(config: TrainSB3Config, agent: Agent, console: Console) -> list[dict[str, Any]]:
    """Play the same held-out questions with the same seed with each agent and noise."""
    agents = {config.algorithm: agent, "search-once": SearchOnce(), "random": RandomWords()}
    kwargs = config.env_kwargs(held_out=True)
    rows = []
    for noise in config.eval_noise:
        for name, player in agents.items():
            with ProgressBar(console, f"{name}, noise {noise:g}") as bar:
                report = evaluate(
                    player,
                    config.env,
                    episodes=config.eval_episodes,
                    noise=noise,
                    env_kwargs=kwargs,
                    on_start=bar.start,
                    on_episode=bar.episode,
                )
            row = {"agent": name, "noise": noise, "f1": asdict(report.metrics["f1"])}
            row |= {"searches": report.metrics["searches"].mean, "episodes": report.num_episodes}
            rows.append(row)
    return rows


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"F1 on {rows[0]['episodes']} held-out questions (95 % interval)")
    for header in ("noise", "agent", "F1", "searches"):
        table.add_column(header, justify="left" if header == "agent" else "right")
    for row in rows:
        f1 = "{mean:.3f} [{low:.3f}, {high:.3f}]".format(**row["f1"])
        table.add_row(f"{row['noise']:g}", row["agent"], f1, f"{row['searches']:.1f}")
    return table
