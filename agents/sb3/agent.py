"""A trained network as an agent that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.sb3.choices import Limits, find_choices
from agents.sb3.train_config import MODEL_FILE, SETTINGS_FILE
from agents.sb3.training import ALGORITHMS
from agents.storage.output_folder import read_settings


class ChoiceAgent:
    """Takes the best choice of each turn, planning for as many turns as in its training."""

    def __init__(self, model: BaseAlgorithm, limits: Limits) -> None:
        self._model, self._limits = model, limits

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load the agent from a folder of `zerosearch train-sb3`.

        Raises:
            ValueError: if the folder holds no run, or a run without a checkpoint.
        """
        settings, checkpoint = Path(folder) / SETTINGS_FILE, Path(folder) / MODEL_FILE
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
