"""`zerosearch train`: flags of a run, and the output when it ends.

Progress and tables go to standard error and into the output folder; standard output carries the
JSON object of `--json` as its last line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from agents.cli.flags import parse_flags, require_packages, take_flag, with_default_output
from agents.cli.training.recipes import run_recipe
from agents.llm.recipes.recipe import load_recipe, recipe_paths
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import check_config
from agents.storage.config_file import read_settings, read_toml
from zs_env.search.prices import PriceTable, cost_table, prices_from_json

if TYPE_CHECKING:
    from agents.llm.trainer.loop import TrainResult

_DESCRIPTION = f"""Train a language model to search.

Without flags the main job runs: the tiny policy of the package learns to search an embedded
fictional world, on a CPU, in minutes. --config FILE.toml reads settings from a file; its keys are
the names of the flags with underscores. Flags override the file.

--recipe NAME trains as a published system does: {", ".join(recipe_paths())}; or FILE.toml, a recipe
of your own. `zerosearch recipes` describes them. --published uses the authors' batch size, learning
rate and so on instead of those scaled down to the tiny policy. Flags override a recipe in all its
stages."""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; returns 0, also after SIGTERM, or 1 if training failed."""
    flags = list(argv)
    recipe = take_flag(flags, "--recipe")
    if recipe is None or {"-h", "--help"} & set(flags):
        return 0 if run_training(parse_arguments(flags)) else 1
    return run_recipe(load_recipe(recipe), flags, run_training)


def parse_arguments(argv: Sequence[str]) -> TrainConfig:
    """Read flags over the settings of the TOML file that `--config` names.

    Raises:
        ValueError: if the file is not valid TOML, a key is unknown, or a value has another type.
        SystemExit: if a flag is wrong (status 2) or help was asked for (status 0).
    """
    flags = list(argv)
    path = take_flag(flags, "--config")
    table = {} if path is None else read_toml(Path(path))
    config = parse_flags(
        TrainConfig,
        flags,
        prog="zerosearch train",
        description=_DESCRIPTION,
        settings=read_settings(table, TrainConfig, where=path),
    )
    return with_default_output(config, flags, table)


def run_training(config: TrainConfig) -> TrainResult | None:
    """Train, then write and show the result; returns None after an error, which is printed."""
    prices = prices_from_json(config.run.prices)
    check_config(config)
    require_packages("training", "train", "torch", "transformers", "matplotlib")
    from agents.llm.distributed.context import RankLostError
    from agents.llm.generators.base import GenerationError
    from agents.llm.trainer.loop import EngineFailing, TrainingDiverged, train
    from agents.llm.trainer.run_folder import CheckpointError
    from agents.llm.trainer.setup import open_session

    console = Console(stderr=True)
    try:
        with open_session(config.run) as distributed:
            result = train(config, distributed)
    except (
        *(CheckpointError, TrainingDiverged, FloatingPointError, RankLostError),
        *(EngineFailing, GenerationError),
    ) as error:
        console.print(f"zerosearch train: {error}", markup=False, highlight=False, soft_wrap=True)
        return None
    if distributed.is_main:
        _report(config, result, prices, console)
    return result


def _report(config: TrainConfig, result: TrainResult, prices: PriceTable, console: Console) -> None:
    """Write the learning curve and, after the last step, the result and sample transcripts."""
    from agents.llm.trainer.metrics import read_metrics
    from agents.llm.trainer.report import (
        before_after_table,
        draw_learning_curve,
        structure_table,
        transcript_table,
    )
    from agents.llm.trainer.run_folder import write_json
    from zs_env.transcripts.storage import append_transcripts

    output, summary = config.run.output, summarize(config, result)
    curve = output / "learning_curve.png"
    rows, evaluations = (read_metrics(output, kind) for kind in ("train", "evaluation"))
    title = f"{config.model.policy}, {config.algorithm.algorithm}, seed {config.run.seed}"
    draw_learning_curve(rows, evaluations, curve, title=title)
    if result.stopped:
        console.print(
            f"stopped after {result.steps} of {config.run.steps} steps; continue with --output "
            f"{output} --resume",
            soft_wrap=True,
        )
    else:
        parts = ("before", "after", "oracle", "costs")
        values = {**summary, **{name: getattr(result, name) for name in parts}}
        write_json(output / "result.json", values)
        samples = output / "samples.jsonl"
        samples.unlink(missing_ok=True)
        append_transcripts(samples, result.transcripts)
        console.print(transcript_table(result.transcripts[:6]))
        if result.after[0]["structures"]:
            console.print(structure_table(result.before, result.after))
        console.print(before_after_table(result.before, result.after, result.oracle))
        console.print(
            f"trained {result.train_seconds:.0f} s in {result.steps} steps; checkpoint "
            f"{result.checkpoint}, learning curve {curve}",
            soft_wrap=True,
        )
    console.print(
        f"metrics in {output / 'metrics.jsonl'}; docs/metrics.md defines each of them",
        soft_wrap=True,
    )
    if result.costs.get("completion_tokens"):
        console.print(cost_table(result.costs, prices))
    if config.run.json:
        print(json.dumps(summary), flush=True)


def summarize(config: TrainConfig, result: TrainResult) -> dict[str, Any]:
    """Return the object that `--json` prints; null stands for figures that a stopped run lacks."""
    from agents.llm.trainer.evaluator import REAL_ENGINE, noise_setting

    end_noise = noise_setting(config.noise.noise_end)

    def f1(rows: Sequence[dict[str, Any]], setting: str) -> float | None:
        found = [row["f1"] for row in rows if row["setting"] == setting]
        return found[0] if found and isfinite(found[0]) else None

    return {
        "f1_before": f1(result.before, noise_setting(0.0)),
        "f1_after": f1(result.after, noise_setting(0.0)),
        "f1_end_noise": f1(result.after, end_noise),
        "oracle_end_noise": result.oracle.get(end_noise),
        "f1_real_engine": f1(result.after, REAL_ENGINE),
        "train_seconds": result.train_seconds,
        "steps": result.steps,
        "checkpoint": result.checkpoint,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
