"""`zerosearch train`: the flags of a run, and what is shown when it ends.

Everything for people goes to standard error and into the output folder; standard output carries
the one JSON object of `--json`, as its last line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console

from agents.cli.flags import flags_of_table, read_toml, take_flag
from agents.llm.recipes.recipe import load_recipe, recipe_paths
from agents.llm.trainer.config import TrainConfig
from agents.storage.folder_lock import folder_lock
from zs_env.search.prices import PriceTable, cost_table, prices_from_json

if TYPE_CHECKING:
    from agents.llm.trainer.loop import TrainResult

_DESCRIPTION = f"""Train a language model to search.

Without flags the main job runs: the tiny policy that ships with the package learns to search an
embedded fictional world, on a CPU, in minutes. --config FILE.toml reads flags from a file (keys
are their names with underscores); flags given here override it.

--recipe NAME trains as a published system does: {", ".join(recipe_paths())}; or FILE.toml, a recipe
of your own. `zerosearch recipes` says what they are. With --published the authors' own batch,
learning rate and the like stand in place of those scaled down to the tiny policy. Flags given
here override a recipe, in all of its stages."""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; 0 also where SIGTERM ended it in good order, 1 where training failed."""
    flags = list(argv)
    recipe = take_flag(flags, "--recipe", "the name of a recipe, or a TOML file")
    if recipe is None or {"-h", "--help"} & set(flags):
        return 0 if run_training(parse_arguments(flags)) else 1
    # It runs stages by what stands here.
    from agents.llm.recipes.runner import run_recipe

    return run_recipe(load_recipe(recipe), flags)


def run_training(config: TrainConfig) -> TrainResult | None:
    """Train, and show and leave behind how it ended; None where it failed, which is said."""
    prices = prices_from_json(config.prices)
    _require_extra()
    from agents.llm.distributed.context import RankLostError, init_distributed
    from agents.llm.generators.base import GenerationError
    from agents.llm.trainer.checkpoint import CheckpointError
    from agents.llm.trainer.loop import EngineFailing, TrainingDiverged, train

    console = Console(stderr=True)
    try:
        with (
            init_distributed(os.environ, deadline_s=config.rank_deadline_s) as distributed,
            folder_lock(config.output) if distributed.is_main else nullcontext(),
        ):
            result = train(config, distributed)
    except (
        *(CheckpointError, TrainingDiverged, FloatingPointError, RankLostError),
        *(EngineFailing, GenerationError),
    ) as error:
        console.print(f"zerosearch train: {error}", markup=False, highlight=False, soft_wrap=True)
        return None
    if distributed.is_main:
        _tell(config, result, prices, console)
    return result


def _tell(config: TrainConfig, result: TrainResult, prices: PriceTable, console: Console) -> None:
    """Write and show how a run ended."""
    summary = summarize(config, result)
    _leave_behind(config, result, summary)
    _show(console, config, result)
    if result.costs.get("completion_tokens"):
        console.print(cost_table(result.costs, prices))
    if config.json:
        print(json.dumps(summary), flush=True)


def parse_arguments(argv: Sequence[str]) -> TrainConfig:
    """Read flags, and before them those of the TOML file that `--config` names.

    Raises:
        ValueError: if the file is no TOML, or holds a key that is no flag.
        SystemExit: if a flag is wrong (status 2) or help was asked for (status 0).
    """
    flags = flags_with_file(argv)
    return tyro.cli(
        TrainConfig,
        args=flags,
        prog="zerosearch train",
        description=_DESCRIPTION,
    )


def summarize(config: TrainConfig, result: TrainResult) -> dict[str, Any]:
    """The object that `--json` prints; what a stopped run does not know is null."""
    from agents.llm.trainer.evaluator import REAL_ENGINE, noise_setting

    def f1(rows: Sequence[dict[str, Any]], setting: str) -> float | None:
        found = [row["f1"] for row in rows if row["setting"] == setting]
        return found[0] if found and isfinite(found[0]) else None

    return {
        "f1_before": f1(result.before, noise_setting(0.0)),
        "f1_after": f1(result.after, noise_setting(0.0)),
        "f1_end_noise": f1(result.after, noise_setting(config.noise_end)),
        "ceiling_end_noise": result.ceiling.get(noise_setting(config.noise_end)),
        "f1_real_engine": f1(result.after, REAL_ENGINE),
        "train_seconds": result.train_seconds,
        "steps": result.steps,
        "checkpoint": result.checkpoint,
    }


def flags_with_file(argv: Sequence[str]) -> list[str]:
    """Put the flags of the file that `--config` names before the others."""
    flags = list(argv)
    name = take_flag(flags, "--config", "the name of a TOML file")
    if name is None:
        return flags
    known = [field.name for field in fields(TrainConfig)]
    return [*flags_of_table(read_toml(Path(name)), known, where=name), *flags]


def _require_extra() -> None:
    missing = [name for name in ("torch", "transformers", "matplotlib") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f'training needs {", ".join(missing)}: pip install "zerosearch-gym[train]"'
        )


def _leave_behind(config: TrainConfig, result: TrainResult, summary: dict[str, Any]) -> None:
    """Write the learning curve, and once the run is over its result and sample transcripts."""
    from agents.llm.trainer.learning_curve import draw_learning_curve
    from agents.llm.trainer.metrics import read_metrics
    from agents.llm.trainer.run_folder import write_json
    from zs_env.transcripts.storage import append_transcripts

    rows, evaluations = (read_metrics(config.output, kind) for kind in ("train", "evaluation"))
    title = f"{config.policy}, {config.algorithm}, seed {config.seed}"
    draw_learning_curve(rows, evaluations, config.output / "learning_curve.png", title=title)
    if not result.stopped:
        write_json(
            config.output / "result.json",
            {
                **summary,
                "before": result.before,
                "after": result.after,
                "ceiling": result.ceiling,
                "costs": result.costs,
            },
        )
        samples = config.output / "samples.jsonl"
        samples.unlink(missing_ok=True)
        append_transcripts(samples, result.transcripts)


def _show(console: Console, config: TrainConfig, result: TrainResult) -> None:
    from agents.llm.trainer.progress import before_after_table, structure_table, transcript_table

    if result.stopped:
        console.print(
            f"stopped after {result.steps} of {config.steps} steps; "
            f"--output {config.output} --resume goes on",
            soft_wrap=True,
        )
        return
    console.print(transcript_table(result.transcripts[:6]))
    if result.after[0]["structures"]:
        console.print(structure_table(result.before, result.after))
    console.print(before_after_table(result.before, result.after, result.ceiling))
    console.print(
        f"trained {result.train_seconds:.0f} s in {result.steps} steps; checkpoint "
        f"{result.checkpoint}, learning curve {config.output / 'learning_curve.png'}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
