"""Runs the stages of a recipe in order, each from the policy of the stage before.

With `resume` a finished stage is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from agents.llm.recipes.recipe import StageConfig
from agents.llm.sft.config import WarmStartConfig
from agents.llm.sft.pipeline import WarmStartResult
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.loop import TrainResult
from agents.llm.trainer.run_folder import check_resumes, read_run_config, with_threads
from agents.storage.config_file import settings_of, with_settings


def run_stages(
    configs: Sequence[StageConfig],
    *,
    train: Callable[[TrainConfig], TrainResult | None],
    warm_start: Callable[[WarmStartConfig], WarmStartResult | None],
    announce: Callable[[int, StageConfig], None],
) -> bool:
    """Run the stages that are not finished.

    Args:
        configs: settings of the stages.
        train: runs a `train` stage; returns None after an error, which it reports itself.
        warm_start: the same for a `warm-start` stage.
        announce: called before each stage, with its number from 1 and its settings.

    Returns:
        False if a stage failed. A stage that SIGTERM stopped ends the recipe without failure.

    Raises:
        FileExistsError: if an output folder holds a run and `resume` is off.
        ValueError: if a finished stage had other settings.
    """
    policy = settings_of(configs[0])["policy"]
    for number, config in enumerate(configs, start=1):
        announce(number, config)
        last = number == len(configs)
        # Standard output carries one JSON object, that of the last stage.
        json_here = settings_of(config)["json"] and last
        config = with_settings(config, {"policy": policy, "json": json_here})
        if isinstance(config, WarmStartConfig):
            warm = warm_start(config)
            if warm is None:
                return False
            policy = warm.policy
            continue
        finished = None if last else finished_training(config)
        if finished is not None:
            policy = finished
            continue
        result = train(config)
        if result is None or result.stopped:
            return result is not None
        policy = result.checkpoint
    return True


def finished_training(config: TrainConfig) -> str | None:
    """Return the checkpoint of a finished stage that is to be resumed; None for any other.

    Raises:
        ValueError: if the stage had other settings.
    """
    path = config.run.output / "result.json"
    recorded = read_run_config(config.run.output, TrainConfig)
    if not config.run.resume or not path.exists() or recorded is None:
        return None
    check_resumes(with_threads(config, recorded.run.threads), recorded)
    result = json.loads(path.read_text(encoding="utf-8"))
    return result["checkpoint"] if result["steps"] >= config.run.steps else None
