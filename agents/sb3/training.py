"""Trains a network on the discrete view with stable-baselines3, and plays it as an agent.

A run folder holds `sb3.json` (settings), `model.zip` (the newest checkpoint, replaced atomically)
and TensorBoard event files. A resumed run has the weights and the optimizer of the checkpoint, but
other questions; DQN starts with an empty replay buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule, safe_mean
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.sb3.choices import DiscreteSearchView, Limits, find_choices
from agents.sb3.network import ChoiceActorCriticPolicy, ChoiceDQNPolicy
from agents.sb3.train_config import MODEL_FILE, SETTINGS_FILE, AlgorithmName, TrainSB3Config
from agents.storage.output_folder import ensure_settings, read_settings
from zs_env.text.paths import local_path

ALGORITHMS: dict[AlgorithmName, type[BaseAlgorithm]] = {"ppo": PPO, "a2c": A2C, "dqn": DQN}
_ARGUMENTS: dict[AlgorithmName, dict[str, Any]] = {
    "ppo": {"learning_rate": 1e-3, "n_steps": 128, "n_epochs": 4, "ent_coef": 0.01},
    "a2c": {
        **{"learning_rate": 1e-3, "n_steps": 16, "gae_lambda": 0.95, "ent_coef": 0.01},
        "use_rms_prop": False,
    },
    "dqn": {
        **{"learning_rate": 5e-4, "buffer_size": 50_000, "learning_starts": 2_000},
        **{"batch_size": 256, "gradient_steps": 4, "target_update_interval": 2_000},
        **{"exploration_fraction": 0.4, "exploration_final_eps": 0.02},
    },
}


def train(
    config: TrainSB3Config, *, on_step: Callable[[int, float], None] = lambda steps, reward: None
) -> BaseAlgorithm:
    """Train, or resume a training, in `config.output`, and return the model.

    `on_step` gets the number of steps taken and the mean reward of the last 100 episodes.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is False.
        ValueError: if the run in the folder has other settings.
    """
    torch.set_num_threads(config.threads)
    settings, checkpoint = config.output / SETTINGS_FILE, config.output / MODEL_FILE
    if settings.exists() and not config.resume:
        raise FileExistsError(
            f"{config.output} holds a run; continue it with --resume or choose another --output"
        )
    ensure_settings(settings, config.fixed_settings(), what="run", files=[checkpoint])

    def make_view() -> gymnasium.Env[Any, Any]:
        kwargs: dict[str, Any] = {**config.env_kwargs(), "noise": config.noise}
        env = gymnasium.make(config.env, disable_env_checker=True, **kwargs)
        return Monitor(DiscreteSearchView(env, config.num_queries, config.num_answers))

    environments = DummyVecEnv([make_view] * config.num_envs)
    if checkpoint.exists():
        model = ALGORITHMS[config.algorithm].load(checkpoint, env=environments, device="cpu")
        # With the original seed the same questions would come again.
        model.set_random_seed(config.seed + model.num_timesteps)
    else:
        arguments = {"gamma": 1.0, "seed": config.seed, **_ARGUMENTS[config.algorithm]}
        if config.algorithm == "ppo":
            arguments["batch_size"] = arguments["n_steps"] * config.num_envs // 4
        rate = config.learning_rate or arguments["learning_rate"]
        arguments["learning_rate"] = LinearSchedule(rate, 0.0, 1.0)
        policy = ChoiceDQNPolicy if config.algorithm == "dqn" else ChoiceActorCriticPolicy
        algorithm = ALGORITHMS[config.algorithm]
        model = algorithm(policy, environments, device="cpu", **arguments)
    model.set_logger(configure(str(config.output / "tensorboard"), ["tensorboard"]))

    def save() -> None:
        temporary = config.output / f".{MODEL_FILE}"
        model.save(temporary)
        temporary.replace(checkpoint)

    def after_step(*_: Any) -> bool:
        if model.num_timesteps % config.checkpoint_every < config.num_envs:
            save()
        rewards = [episode["r"] for episode in model.ep_info_buffer or ()]
        on_step(model.num_timesteps, float(safe_mean(rewards)))
        return True

    try:
        if model.num_timesteps < config.steps:
            steps = config.steps - model.num_timesteps
            model.learn(steps, callback=after_step, reset_num_timesteps=False)
            save()
    finally:
        environments.close()
        model.logger.close()
    return model


class ChoiceAgent:
    """Takes the best choice of each turn, planning for as many turns as in its training."""

    def __init__(self, model: BaseAlgorithm, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self.env_settings = {"max_turns": limits.max_turns}

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load the agent from a folder of `zerosearch train-sb3`.

        Raises:
            ValueError: if the folder holds no run, or a run without a checkpoint.
        """
        folder = local_path(folder)
        settings, checkpoint = folder / SETTINGS_FILE, folder / MODEL_FILE
        for path in (settings, checkpoint):
            if not path.exists():
                raise ValueError(
                    f"{folder} holds no {path.name}; pass a folder of zerosearch train-sb3, or "
                    "complete its run with --resume"
                )
        values = read_settings(settings)
        model = ALGORITHMS[values["algorithm"]].load(checkpoint, device="cpu")
        return cls(model, Limits(*(values[name] for name in Limits._fields)))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights and the limits."""
        digest = blake2b(repr(self._limits).encode(), digest_size=8)
        for tensor in self._model.policy.state_dict().values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search or an answer."""
        return self.act_batch([observation])[0]

    def act_batch(
        self, observations: Sequence[Mapping[str, Any]], infos: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Return a search or an answer for each of several episodes."""
        turns = [find_choices(observation, self._limits) for observation in observations]
        features = np.stack([features for _, features in turns])
        numbers, _ = self._model.predict(features, deterministic=True)
        return [actions[number] for (actions, _), number in zip(turns, numbers, strict=True)]
