"""`zerosearch train-sb3`: trains, then plays held-out questions beside two baselines.

Progress and the table go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.agent import Agent
from agents.baselines import RandomWords, SearchOnce
from agents.evaluation.evaluate import evaluate
from agents.sb3.train_config import TrainSB3Config
from agents.storage.folder_lock import folder_lock

if TYPE_CHECKING:
    from agents.sb3.training import TrainedAgent

_LINES = 20  # of progress where standard error is no terminal
_BASELINES = {"search-once": SearchOnce, "random": RandomWords}


def main(argv: Sequence[str]) -> int:
    """Run the subcommand and return its exit status."""
    config = tyro.cli(TrainSB3Config, args=list(argv), prog="zerosearch train-sb3")
    missing = [name for name in ("stable_baselines3", "tensorboard") if find_spec(name) is None]
    if missing:
        raise ValueError(f'train-sb3 needs {", ".join(missing)}: pip install "zerosearch-gym[sb3]"')
    if config.eval_episodes:
        config.eval_env_kwargs()  # before hours of training, not after
    with folder_lock(config.output):
        return _run(config)


def _run(config: TrainSB3Config) -> int:
    console = Console(stderr=True)
    trained = _train(config, console)
    rows = _examine(config, trained.agent) if config.eval_episodes else []
    result = {
        "algorithm": config.algorithm,
        "seed": config.seed,
        "steps": trained.steps,
        "train_seconds": round(trained.train_seconds, 1),
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "folder": str(config.output),
        "evaluation": rows,
    }
    (config.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    if rows:
        console.print(_table(config, rows))
    console.print(
        f"{trained.steps} steps, {trained.train_seconds:.0f} s; play it with zerosearch evaluate "
        f"--agent {config.output}",
        highlight=False,
        soft_wrap=True,
    )
    if config.json:
        print(json.dumps(result), flush=True)
    return 0


def _train(config: TrainSB3Config, console: Console) -> TrainedAgent:
    from agents.sb3.training import train

    columns = (TextColumn("steps"), MofNCompleteColumn(), BarColumn(bar_width=20))
    shown = (*columns, TextColumn("reward {task.fields[reward]:.3f}"), TimeRemainingColumn())
    last_line = 0

    def on_progress(steps: int, reward: float) -> None:
        nonlocal last_line
        progress.update(task, completed=steps, reward=reward)
        line = steps * _LINES // config.steps
        if not console.is_terminal and line > last_line:
            last_line = line
            console.print(f"{steps} of {config.steps} steps, reward {reward:.3f}", highlight=False)

    with Progress(*shown, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=config.steps, reward=float("nan"))
        return train(config, on_progress=on_progress)


def _examine(config: TrainSB3Config, trained: Agent) -> list[dict[str, Any]]:
    """Play the same held-out questions with the same luck, by every agent at every noise."""
    agents: dict[str, Agent] = {
        config.algorithm: trained,
        **{name: build() for name, build in _BASELINES.items()},
    }
    return [
        {"agent": name, "noise": noise, "f1": report.metrics["f1"].to_json()}
        | {"searches": report.metrics["searches"].mean, "episodes": report.num_episodes}
        for noise in config.eval_noise
        for name, agent in agents.items()
        for report in [
            evaluate(
                agent,
                config.env,
                episodes=config.eval_episodes,
                noise=noise,
                env_kwargs=config.eval_env_kwargs(),
            )
        ]
    ]


def _table(config: TrainSB3Config, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"F1 on {rows[0]['episodes']} held-out questions (95 % interval)")
    for header in ("noise", "agent", "F1", "searches"):
        table.add_column(header, justify="left" if header == "agent" else "right")
    for row in rows:
        f1 = row["f1"]
        interval = f"{f1['mean']:.3f} [{f1['low']:.3f}, {f1['high']:.3f}]"
        table.add_row(f"{row['noise']:g}", row["agent"], interval, f"{row['searches']:.1f}")
    return table
