"""Trains an agent on the discrete view, and keeps what is needed to go on or to play it.

A run's folder holds `sb3.json` (its settings), `model.zip` (the newest checkpoint, whole at any
moment), and TensorBoard's event files. A resumed run goes on with the weights and the optimizer of
the checkpoint, on other questions than before; it is not the run that was interrupted to the bit,
and DQN starts with an empty replay buffer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule, safe_mean
from stable_baselines3.common.vec_env import DummyVecEnv

import envs_registry  # noqa: F401 (registers our ids)
from agents.sb3.algorithms import ALGORITHMS
from agents.sb3.offer_agent import MODEL_FILE, SETTINGS_FILE, OfferAgent
from agents.sb3.train_config import TrainSB3Config
from agents.sb3.view import DiscreteSearchView

OnProgress = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class TrainedAgent:
    """What a training left.

    Attributes:
        agent: ready to play.
        steps: actions taken, those before a resumption included.
        train_seconds: that this call trained.
        cpu_seconds: that it kept processors busy; on a machine with nothing else to do these
            are about as many.
    """

    agent: OfferAgent
    steps: int
    train_seconds: float
    cpu_seconds: float


def train(config: TrainSB3Config, *, on_progress: OnProgress | None = None) -> TrainedAgent:
    """Train, or go on training, in `config.output`.

    Args:
        config: the run's settings.
        on_progress: called with the steps taken and the mean reward of the last 100 episodes.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is off.
        ValueError: if the run there has other settings.
    """
    torch.set_num_threads(config.threads)
    _open_folder(config)
    environments = DummyVecEnv([partial(_make_view, config)] * config.num_envs)
    try:
        model = _open_model(config, environments)
        started, busy = time.perf_counter(), time.process_time()
        if model.num_timesteps < config.steps:
            model.learn(
                config.steps - model.num_timesteps,
                callback=_Checkpoints(config, on_progress),
                reset_num_timesteps=False,
            )
            _save(model, config)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    finally:
        environments.close()
    model.logger.close()
    return TrainedAgent(OfferAgent(model, config.limits()), model.num_timesteps, seconds, busy)


def _make_view(config: TrainSB3Config) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make(
        config.env, disable_env_checker=True, noise=config.noise, **config.env_kwargs()
    )
    return Monitor(DiscreteSearchView(env, config.num_queries, config.num_answers))


def _open_folder(config: TrainSB3Config) -> None:
    path = config.output / SETTINGS_FILE
    if path.exists():
        if not config.resume:
            raise FileExistsError(
                f"{config.output} already holds a run; continue it with --resume, or choose "
                "another --output"
            )
        config.check_resumes(TrainSB3Config.from_json(json.loads(path.read_text())))
        return
    config.output.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(config.to_json(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _open_model(config: TrainSB3Config, environments: DummyVecEnv) -> BaseAlgorithm:
    algorithm = ALGORITHMS[config.algorithm]
    path = config.output / MODEL_FILE
    if path.exists():
        model = algorithm.model.load(path, env=environments, device="cpu")
        # With the seed of the beginning it would meet the same questions again.
        model.set_random_seed(config.seed + model.num_timesteps)
    else:
        model = algorithm.model(
            algorithm.policy,
            environments,
            learning_rate=LinearSchedule(config.learning_rate or algorithm.learning_rate, 0.0, 1.0),
            seed=config.seed,
            device="cpu",
            **algorithm.arguments(config.num_envs),
        )
    model.set_logger(configure(str(config.output / "tensorboard"), ["tensorboard"]))
    return model


def _save(model: BaseAlgorithm, config: TrainSB3Config) -> None:
    """Write a checkpoint, whole or not at all."""
    temporary = config.output / f".{MODEL_FILE}"
    with temporary.open("wb") as file:
        model.save(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(config.output / MODEL_FILE)


class _Checkpoints(BaseCallback):
    """Saves every so many steps, and tells of every rollout."""

    def __init__(self, config: TrainSB3Config, on_progress: OnProgress | None) -> None:
        super().__init__()
        self._config, self._on_progress = config, on_progress
        self._saved = 0

    def _on_training_start(self) -> None:
        self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        # Between rollouts the weights are whole: an update is behind, the next not begun.
        if self.num_timesteps - self._saved >= self._config.checkpoint_every:
            self._saved = self.num_timesteps
            _save(self.model, self._config)

    def _on_rollout_end(self) -> None:
        if self._on_progress:
            rewards = [episode["r"] for episode in self.model.ep_info_buffer or ()]
            self._on_progress(self.num_timesteps, float(safe_mean(rewards)))
