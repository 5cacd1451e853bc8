"""A recipe's stages, one after the other, each from the policy that the last one left.

A recipe of one stage is a run like any other in its output folder; several have `stage-1`,
`stage-2`, … in it. With --resume a stage that is finished is not repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from agents.cli.training import train as train_command
from agents.cli.training import warm_start as warm_start_command
from agents.llm.recipes.recipe import Recipe
from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer.config import TrainConfig, with_threads

_PUBLISHED = "--published"
StageConfig = TrainConfig | WarmStartConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnd:
    """How a stage ended.

    Attributes:
        policy: folder of what it left; None where the recipe cannot go on.
        failed: whether that is so because of an error, which has been said.
    """

    policy: str | None = None
    failed: bool = False


def run_recipe(recipe: Recipe, flags: Sequence[str]) -> int:
    """Run what is not finished of a recipe.

    Args:
        recipe: which one.
        flags: those of `zerosearch train` that a user gave beside its name.

    Returns:
        0, also where SIGTERM ended a stage in good order; 1 where one failed.

    Raises:
        FileExistsError: if the output folder holds a run and `--resume` was not given.
        ValueError: if a flag or a setting is wrong, or a finished stage had others.
    """
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    configs = stage_configs(recipe, flags)
    console.print(f"{recipe.name}: {recipe.about}; {recipe.paper}", highlight=False, soft_wrap=True)
    policy = configs[0].policy
    for number, config in enumerate(configs, start=1):
        console.print(
            f"stage {number} of {len(configs)} in {config.output}", highlight=False, soft_wrap=True
        )
        last = number == len(configs)
        # Standard output carries one object, and it is the last one's.
        end = _run_stage(replace(config, policy=policy, json=config.json and last), last=last)
        if end.policy is None:
            return int(end.failed)
        policy = end.policy
    return 0


def stage_configs(recipe: Recipe, flags: Sequence[str]) -> list[StageConfig]:
    """The settings of every stage; that they begin from the last one's policy is left open.

    Raises:
        ValueError: if a flag or a setting is wrong.
        SystemExit: if a flag's value is no value of its kind (status 2).
    """
    given = [flag for flag in train_command.flags_with_file(flags) if flag != _PUBLISHED]
    folder = ("--output", str(Path("runs") / recipe.name))
    stages = recipe.stage_flags([*folder, *given], published=_PUBLISHED in flags)
    configs = [
        _PARSERS[stage.kind](words) for stage, words in zip(recipe.stages, stages, strict=True)
    ]
    if len(configs) == 1:
        return configs
    return [
        replace(config, output=config.output / f"stage-{number}")
        for number, config in enumerate(configs, start=1)
    ]


_PARSERS = {
    "train": train_command.parse_arguments,
    "warm-start": warm_start_command.parse_arguments,
}


def _run_stage(config: StageConfig, *, last: bool) -> StageEnd:
    if isinstance(config, WarmStartConfig):
        return _warm_start(config)
    finished = None if last else finished_training(config)
    if finished is not None:
        return StageEnd(policy=finished)
    result = train_command.run_training(config)
    if result is None:
        return StageEnd(failed=True)
    return StageEnd(policy=None if result.stopped else result.checkpoint)


def _warm_start(config: WarmStartConfig) -> StageEnd:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "a warm start runs in one process, but torchrun started several; make it with "
            "`zerosearch warm-start` first, and train its folder by a recipe without that stage"
        )
    result = warm_start_command.run_warm_start(config)
    return StageEnd(failed=True) if result is None else StageEnd(policy=result.policy)


def finished_training(config: TrainConfig) -> str | None:
    """The checkpoint of a stage that is finished and is to be left so; None for any other.

    Raises:
        ValueError: if it had other settings than those asked for.
    """
    path = config.output / "result.json"
    if not config.resume or not path.exists():
        return None
    recorded = json.loads((config.output / "config.json").read_text(encoding="utf-8"))
    earlier = TrainConfig.from_json(recorded)
    with_threads(config, earlier.threads).check_resumes(earlier)
    result = json.loads(path.read_text(encoding="utf-8"))
    return result["checkpoint"] if result["steps"] >= config.steps else None
