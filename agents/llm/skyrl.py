"""SkyRL 0.4's trainer on our episodes: `python -m agents.llm.skyrl CONFIG.yaml [KEY=VALUE ...]`.

The file holds SkyRL's configuration, and in `zerosearch` the arguments of
`envs_registry.skyrl.register_environment`. SkyRL needs Python 3.12 or newer and GPUs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ray  # type: ignore[import-not-found]
from omegaconf import OmegaConf  # type: ignore[import-not-found]
from skyrl.backends.skyrl_train.inference_servers.utils import (  # type: ignore[import-not-found]
    resolve_policy_model_name,
)
from skyrl.train.config import SkyRLTrainConfig  # type: ignore[import-not-found]
from skyrl.train.entrypoints.main_base import BasePPOExp  # type: ignore[import-not-found]
from skyrl.train.generators.skyrl_gym_generator import (  # type: ignore[import-not-found]
    SkyRLGymGenerator,
)
from skyrl.train.utils import validate_cfg  # type: ignore[import-not-found]
from skyrl.train.utils.utils import initialize_ray  # type: ignore[import-not-found]

from envs_registry.skyrl import EpisodeFailed, register_environment

_LOGGER = logging.getLogger(__name__)
MAX_TRIES = 5


class ZeroSearchGenerator(SkyRLGymGenerator):
    """SkyRL's generator, which tells the environment the training step and the group member.

    A failed episode (its engine or judge failed) is dropped and played again, up to `MAX_TRIES`
    times; SkyRL needs an output for each prompt. If it fails every time, the run ends with the
    error.
    """

    async def generate(self, input_batch: Any, *arguments: Any, **settings: Any) -> Any:
        """Play the episodes of a batch; see `SkyRLGymGenerator.generate`."""
        # SkyRL counts its steps from 1.
        step = max(input_batch["batch_metadata"].global_step - 1, 0)
        members = input_batch["trajectory_ids"]
        for row, member in zip(input_batch["env_extras"], members, strict=True):
            row.update(training_step=step, repetition_id=member.repetition_id)
        return await super().generate(input_batch, *arguments, **settings)

    async def agent_loop(self, *arguments: Any, **settings: Any) -> Any:
        """Play one episode; see `SkyRLGymGenerator.agent_loop`.

        Raises:
            EpisodeFailed: if the engine or the judge failed in each of `MAX_TRIES` episodes.
        """
        for _ in range(MAX_TRIES - 1):
            try:
                return await super().agent_loop(*arguments, **settings)
            except EpisodeFailed as failure:
                _LOGGER.warning("an episode failed and is played again: %s", failure)
        return await super().agent_loop(*arguments, **settings)


class ZeroSearchExperiment(BasePPOExp):
    """SkyRL's experiment with `ZeroSearchGenerator`."""

    def get_generator(self, cfg: Any, tokenizer: Any, inference_engine_client: Any) -> Any:
        """Return the generator of the episodes."""
        return ZeroSearchGenerator(
            cfg.generator,
            cfg.environment.skyrl_gym,
            inference_engine_client,
            tokenizer,
            policy_model_name=resolve_policy_model_name(cfg),
        )


def load_config(arguments: Sequence[str]) -> tuple[SkyRLTrainConfig, dict[str, Any]]:
    """Read a configuration.

    Args:
        arguments: the file, and overrides as KEY=VALUE.

    Returns:
        SkyRL's configuration, and the arguments of `register_environment`.

    Raises:
        ValueError: if a field is unknown, or the section `zerosearch` is missing.
        FileNotFoundError: if there is no such file.
    """
    path, *overrides = arguments
    config = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_cli(overrides))
    values: Any = OmegaConf.to_container(config, resolve=True)
    if "zerosearch" not in values:
        raise ValueError(
            f"{path} has no section 'zerosearch', expected one with the arguments of "
            "envs_registry.skyrl.register_environment, as in examples/skyrl/search.yaml"
        )
    settings = values.pop("zerosearch")
    return SkyRLTrainConfig.from_dict_config(OmegaConf.create(values)), settings


@ray.remote(num_cpus=1)
def _train(config: SkyRLTrainConfig, settings: Mapping[str, Any]) -> None:
    register_environment(**settings)
    ZeroSearchExperiment(config).run()


def main() -> None:
    """Train with the configuration on the command line."""
    config, settings = load_config(sys.argv[1:])
    validate_cfg(config)
    initialize_ray(config)
    ray.get(_train.remote(config, settings))


if __name__ == "__main__":
    main()
