"""`zerosearch verl-config`: writes a configuration of verl that trains as a recipe does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.cli import verl_rows
from agents.cli.flags import parse_flags, require_packages, take_flag
from agents.cli.training.recipes import stage_configs
from agents.llm.recipes.recipe import load_recipe
from agents.llm.trainer.config import TrainConfig
from agents.llm.verl.config import (
    CONFIG_NAME,
    HELD_OUT_ROWS,
    LOOP_FILE,
    TRAIN_ROWS,
    check_config,
    verl_config,
)
from agents.storage.config_file import with_settings

_DESCRIPTION = """Write a configuration of verl that trains as a recipe does, and the rows of its
questions.

  --recipe NAME    of `zerosearch recipes`, or FILE.toml; with the authors' values (--published)
  --policy NAME    a Hugging Face name, or a folder
  --gpus N         up to 8, or a multiple of 8; 8 by default
  --billions X     weights of the policy, if its name does not state them
  --stage N        which `train` stage of the recipe, from 1; 1 by default
  --output FOLDER  a new folder that all nodes share; runs/verl-NAME by default

Other flags are those of `zerosearch train`, such as --questions, --eval-questions, --engine and
--algorithm. Where verl is installed, it checks the configuration."""


def main(argv: Sequence[str]) -> int:
    """Write the configuration; returns the exit status."""
    flags = list(argv)
    if {"-h", "--help"} & set(flags):
        parse_flags(
            TrainConfig, ["--help"], prog="zerosearch verl-config", description=_DESCRIPTION
        )
    names = ("--recipe", "--policy", "--gpus", "--billions", "--stage", "--output")
    given = {name: take_flag(flags, name) for name in names}
    if given["--recipe"] is None or given["--policy"] is None:
        raise ValueError("zerosearch verl-config needs --recipe and --policy")
    require_packages("verl-config", "train", "yaml")
    recipe = load_recipe(given["--recipe"])
    output = Path(given["--output"] or f"runs/verl-{recipe.name}").expanduser().absolute()
    if output.exists():
        raise FileExistsError(f"{output} exists; give a new folder as --output")
    stages = stage_configs(recipe, ["--published", *flags])
    trained = [stage for stage in stages if isinstance(stage, TrainConfig)]
    number = int(given["--stage"] or 1)
    if not 1 <= number <= len(trained):
        raise ValueError(
            f"--stage is {number}, but recipe {recipe.name!r} has {len(trained)} `train` stages"
        )
    settings = {"policy": given["--policy"], "output": output}
    config = with_settings(trained[number - 1], settings)
    billions = None if given["--billions"] is None else float(given["--billions"])
    values, loops = verl_config(
        config, gpus=int(given["--gpus"] or 8), output=output, billions=billions
    )
    about = f"{recipe.about}; {recipe.paper}"
    _write(output / f"{CONFIG_NAME}.yaml", values, about)
    _write(output / LOOP_FILE, loops, "Environments of verl's agent loop, by the rows' data_source")
    _write_rows(config, loops[0]["environments"], output)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    checked = check_config(output)
    console.print(
        "verl is not installed here, so the configuration was not checked"
        if checked is None
        else f"verl {checked} accepts the configuration"
    )
    if len(stages) > 1:
        kinds = " then ".join(stage.kind for stage in recipe.stages)
        console.print(f"this is one stage of the recipe, which has {kinds}")
    console.print(
        f"python -m verl.trainer.main_ppo --config-path {output} --config-name {CONFIG_NAME}"
    )
    return 0


def _write(path: Path, values: Any, about: str) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    # Through JSON, so that YAML shows plain lists and no anchors.
    text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, allow_unicode=True)
    path.write_text(f"# {about}.\n{text}", encoding="utf-8")


def _write_rows(config: TrainConfig, environments: dict[str, Any], output: Path) -> None:
    """Write the rows of both environments; those of endless questions for the whole run."""
    limits: list[str] = []
    for name, value in config.environment.prompt_limits().items():
        limits += [f"--{name.replace('_', '-')}", str(value)]
    counts = {"heldout": config.evaluation.eval_episodes}
    if environments["train"]["questions"]["kind"] == "world":
        counts["train"] = config.run.steps * config.rollouts.questions_per_step
    for name, file in (("train", TRAIN_ROWS), ("heldout", HELD_OUT_ROWS)):
        questions = json.dumps(environments[name]["questions"])
        flags = ["--env", config.environment.env, "--questions", questions, *limits]
        flags += ["--data-source", name, "--output", str(output / file)]
        flags += ["--count", str(counts[name])] if name in counts else []
        flags += ["--noise", "0", "--seed", str(config.run.seed)] if name == "heldout" else []
        verl_rows.main(flags)
