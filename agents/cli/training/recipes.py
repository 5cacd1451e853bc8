"""Recipes: `zerosearch recipes` shows them, and `zerosearch train --recipe NAME` runs their stages.

A recipe with one stage is an ordinary run in its output folder; several stages have the folders
`stage-1`, `stage-2`, ... in it.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from agents.cli.flags import (
    flags_by_setting,
    is_output_given,
    numbered_folder,
    parse_flags,
    take_flag,
    with_default_output,
)
from agents.cli.training.warm_start import run_warm_start
from agents.llm.recipes.recipe import Recipe, StageConfig, load_recipe, recipe_path, recipe_paths
from agents.llm.trainer.config import TrainConfig
from agents.storage.config_file import (
    read_settings,
    read_toml,
    setting_types,
    settings_of,
    with_settings,
)

if TYPE_CHECKING:
    from agents.llm.trainer.loop import TrainResult

_DESCRIPTION = """List the recipes of `zerosearch train --recipe NAME`, or print one.

The comments of a recipe state its departures from the paper. To change one:
zerosearch recipes search-r1 > mine.toml, then zerosearch train --recipe mine.toml"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand `recipes`."""
    parser = ArgumentParser(
        "zerosearch recipes", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="recipe to print; without it all are listed")
    name = parser.parse_args(argv).name
    if name is not None:
        print(recipe_path(name).read_text(encoding="utf-8"), end="")
        return 0
    for name in recipe_paths():
        recipe = load_recipe(name)
        stages = " then ".join(stage.kind for stage in recipe.stages)
        print(f"{name:<15} {recipe.about}\n{'':<15} {recipe.paper}; {stages}")
    return 0


def run_recipe(
    recipe: Recipe, flags: Sequence[str], train: Callable[[TrainConfig], TrainResult | None]
) -> int:
    """Run the stages of a recipe in order, each from the policy of the stage before.

    With `--resume` a finished stage is not repeated.

    Args:
        recipe: which one.
        flags: flags of `zerosearch train` beside the recipe's name.
        train: runs a `train` stage and reports its result; returns None after an error.

    Returns:
        0, also after SIGTERM, or 1 if a stage failed.

    Raises:
        FileExistsError: if the output folder holds a run and `--resume` was not given.
        ValueError: if a flag or a setting is wrong, or a finished stage had other settings.
    """
    # These import torch.
    from agents.llm.distributed.context import init_distributed
    from agents.llm.trainer.run_folder import finished_training

    console = Console(
        stderr=True, highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0"
    )
    configs = stage_configs(recipe, flags)
    console.print(f"{recipe.name}: {recipe.about}; {recipe.paper}")
    first = settings_of(configs[0])
    policy = first["policy"]
    # All stages share one process group: a group that is opened again in the same processes may
    # find the addresses of the group before it. After a failure it is not closed, as in a run.
    group = ExitStack()
    group.enter_context(init_distributed(os.environ, deadline_s=first["rank_deadline_s"]))
    for number, config in enumerate(configs, start=1):
        console.print(f"stage {number} of {len(configs)} in {config.run.output}")
        last = number == len(configs)
        # Standard output carries one JSON object, that of the last stage.
        config = with_settings(config, {"policy": policy, "json": config.run.json and last})
        if not isinstance(config, TrainConfig):
            warm = run_warm_start(config)
            if warm is None:
                return 1
            policy = warm.policy
        elif not last and (finished := finished_training(config)) is not None:
            policy = finished
        else:
            result = train(config)
            if result is None:
                return 1
            if result.stopped:
                break
            policy = result.checkpoint
    group.close()
    return 0


def stage_configs(recipe: Recipe, flags: Sequence[str]) -> list[StageConfig]:
    """Settings of every stage: the recipe's, the authors' with --published, --config, flags.

    A flag applies to every stage that has a setting of its name. `--policy` applies to the first
    stage only: the others start from the policy of the stage before.

    Raises:
        ValueError: if a flag or a setting is wrong.
        SystemExit: if a value of a flag is wrong (status 2).
    """
    given = list(flags)
    path = take_flag(given, "--config")
    table = {} if path is None else read_toml(Path(path))
    read_settings(table, TrainConfig, where=path)
    published = "--published" in given
    given = [flag for flag in given if flag != "--published"]
    known = {name for stage in recipe.stages for name in setting_types(stage.config_class)}
    groups = flags_by_setting(given, known)
    configs: list[StageConfig] = []
    for number, stage in enumerate(recipe.stages):
        names = setting_types(stage.config_class).keys() - ({"policy"} if number else set())
        file = {name: value for name, value in table.items() if name in names}
        settings = {
            **stage.settings,
            **(stage.published if published else {}),
            "output": Path("runs") / recipe.name,
            **read_settings(file, stage.config_class, where=path),
        }
        configs.append(
            parse_flags(
                stage.config_class,
                [word for name, words in groups if name in names for word in words],
                prog="zerosearch train",
                description=recipe.about,
                settings=settings,
            )
        )
    if len(configs) == 1:
        return [with_default_output(configs[0], given, table)]
    output = configs[0].run.output
    if not is_output_given(given, table):
        output = numbered_folder(
            output,
            resume=configs[0].run.resume,
            holds_run=lambda path: (path / "stage-1").exists(),
            fits=lambda _: True,
        )
    return [
        with_settings(config, {"output": output / f"stage-{number}"})
        for number, config in enumerate(configs, start=1)
    ]
