"""Places at which episodes are played side by side, each with a question of its own.

A seat whose episode is over stays empty until another starts there, so no episode waits for the
slowest, and what an episode sees does not depend on how many are played at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from agents.evaluation.episode_result import EpisodeResult
from zs_env.config import make_vector_env
from zs_env.search.client import Costs
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

_OUR_VECTORS = (make_vector_env, "zs_env.config:make_vector_env")


def episode_seed(seed: int, index: int) -> int:
    """Seed of the episode of question `index`, whichever seat plays it."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


class Seats(Protocol):
    """A fixed number of seats, numbered from 0."""

    num_seats: int
    num_questions: int | None

    def start(self, questions: Mapping[int, int]) -> None:
        """Start an episode at each given seat; values are question numbers."""
        ...

    def observation(self, seat: int) -> Mapping[str, Any]:
        """Return what the agent at a seat sees now."""
        ...

    def act(self, texts: Mapping[int, str]) -> list[int]:
        """Take one text for each seat that plays; return the seats whose episode is over."""
        ...

    def outcome(self, seat: int) -> tuple[EpisodeResult, Transcript | None]:
        """Return what became of a finished episode."""
        ...

    def costs(self) -> dict[str, float]:
        """Return what all searches have cost so far; {} where the environments do not say."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


def open_seats(
    env_id: str,
    num_seats: int,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    noise: float | None = None,
) -> Seats:
    """Make environments of an id: one vector where the id has its own, single ones elsewhere.

    Raises:
        ValueError: if the actions of an environment that is not ours are not texts.
    """
    if not _is_ours(env_id):
        return SingleSeats(env_id, num_seats, env_kwargs=env_kwargs, seed=seed, noise=noise)
    return VectorSeats(open_vector(env_id, num_seats, env_kwargs), seed=seed, noise=noise)


def open_vector(
    env_id: str, num_seats: int, env_kwargs: Mapping[str, Any] | None = None
) -> ZeroSearchVectorEnv:
    """Make the vector of an id that has one of ours.

    Raises:
        ValueError: if it has none.
    """
    if not _is_ours(env_id):
        raise ValueError(
            f"environment {env_id!r} is not one of ours; choose an id that envs_registry registers"
        )
    vector = gymnasium.make_vec(
        env_id,
        num_envs=num_seats,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.DISABLED,
        **(env_kwargs or {}),
    ).unwrapped
    assert isinstance(vector, ZeroSearchVectorEnv)
    return vector


def _is_ours(env_id: str) -> bool:
    """Whether an id, perhaps after the module that registers it, has a vector of ours."""
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    return gymnasium.spec(name).vector_entry_point in _OUR_VECTORS


def _options(index: int, noise: float | None) -> dict[str, Any]:
    return {"question_index": index} | ({} if noise is None else {"noise_probability": noise})


class VectorSeats:
    """The sub-environments of one vector: searches of one step are one engine call.

    Args:
        vector: whose episodes do not reset themselves.
        seed: of every draw.
        noise: chance of noise; None for the environment's own.
        flipped_turn: as the environment's reset option.
    """

    def __init__(
        self,
        vector: ZeroSearchVectorEnv,
        *,
        seed: int = 0,
        noise: float | None = None,
        flipped_turn: int | None = None,
    ) -> None:
        self.vector = vector
        self.num_seats = vector.num_envs
        self.num_questions: int | None = vector.num_questions
        self._seed, self._noise, self._flipped_turn = seed, noise, flipped_turn
        self._indices = [0] * self.num_seats
        self._playing = np.zeros(self.num_seats, dtype=np.bool_)
        self._observations: dict[str, Any] | None = None

    def start(self, questions: Mapping[int, int]) -> None:
        """Start an episode at each given seat."""
        for seat, index in questions.items():
            self._indices[seat] = index
        mask = np.zeros(self.num_seats, dtype=np.bool_)
        mask[list(questions)] = True
        self._playing |= mask
        if self._observations is None:  # the first reset must be of all
            mask[:] = True
        options: dict[str, Any] = {"question_index": self._indices, "reset_mask": mask}
        if self._flipped_turn is not None:
            options["flipped_turn"] = self._flipped_turn
        if self._noise is not None:
            options["noise_probability"] = self._noise
        seeds = [episode_seed(self._seed, index) for index in self._indices]
        self._observations, _ = self.vector.reset(seed=seeds, options=options)

    def observation(self, seat: int) -> dict[str, Any]:
        """Return what the agent at a seat sees now."""
        if self._observations is None:
            raise RuntimeError("nothing is played yet; call start() first")
        observation = {key: value[seat] for key, value in self._observations.items()
                       if key != "documents"}  # fmt: skip
        observation["documents"] = tuple(column[seat] for column in self._observations["documents"])
        return observation

    def act(self, texts: Mapping[int, str]) -> list[int]:
        """Take one text for each seat that plays; return the seats whose episode is over."""
        # An empty seat may still hold the episode that the first reset gave it: it acts too, in
        # vain, and is started afresh when it is taken.
        actions = [texts.get(seat, "") for seat in range(self.num_seats)]
        self._observations, _, terminated, truncated, _ = self.vector.step(actions)
        over = np.flatnonzero((terminated | truncated) & self._playing).tolist()
        self._playing[over] = False
        return over

    def outcome(self, seat: int) -> tuple[EpisodeResult, Transcript]:
        """Return what became of a finished episode."""
        transcript = self.vector.transcript(seat)
        return EpisodeResult.from_transcript(self._indices[seat], transcript), transcript

    def costs(self) -> dict[str, float]:
        """Return what all searches have cost so far."""
        return asdict(self.vector.costs)

    def close(self) -> None:
        """Close the vector."""
        self.vector.close()


class SingleSeats:
    """One environment a seat, for ids that are not ours or have no vector of their own."""

    def __init__(
        self,
        env_id: str,
        num_seats: int,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        seed: int = 0,
        noise: float | None = None,
    ) -> None:
        self.num_seats = num_seats
        self._envs = [gymnasium.make(env_id, **(env_kwargs or {})) for _ in range(num_seats)]
        actions = self._envs[0].action_space
        if not isinstance(actions.sample(), str):
            self.close()
            raise ValueError(
                f"environment {env_id!r} takes actions of {actions}, expected one that takes texts"
            )
        self.num_questions: int | None = getattr(self._envs[0].unwrapped, "num_questions", None)
        self._seed, self._noise = seed, noise
        self._indices = [0] * num_seats
        self._observations: list[Any] = [None] * num_seats
        self._rewards = [0.0] * num_seats
        self._turns = [0] * num_seats
        self._ends: list[tuple[dict[str, Any], bool]] = [({}, False)] * num_seats

    def start(self, questions: Mapping[int, int]) -> None:
        """Start an episode at each given seat."""
        for seat, index in questions.items():
            self._indices[seat] = index
            self._rewards[seat], self._turns[seat] = 0.0, 0
            self._observations[seat], _ = self._envs[seat].reset(
                seed=episode_seed(self._seed, index), options=_options(index, self._noise)
            )

    def observation(self, seat: int) -> Any:
        """Return what the agent at a seat sees now."""
        return self._observations[seat]

    def act(self, texts: Mapping[int, str]) -> list[int]:
        """Take one text for each seat that plays; return the seats whose episode is over."""
        over = []
        for seat, text in texts.items():
            step = self._envs[seat].step(text)
            self._observations[seat], reward, terminated, truncated, info = step
            self._rewards[seat] += float(reward)
            self._turns[seat] += 1
            if terminated or truncated:
                self._ends[seat] = (info, terminated)
                over.append(seat)
        return over

    def outcome(self, seat: int) -> tuple[EpisodeResult, Transcript | None]:
        """Return what became of a finished episode."""
        transcript_of = getattr(self._envs[seat].unwrapped, "transcript", None)
        if callable(transcript_of):
            transcript = transcript_of()
            if isinstance(transcript, Transcript):
                return EpisodeResult.from_transcript(self._indices[seat], transcript), transcript
        info, terminated = self._ends[seat]
        result = EpisodeResult.from_info(
            self._indices[seat],
            info,
            reward=self._rewards[seat],
            turns=self._turns[seat],
            terminated=terminated,
        )
        return result, None

    def costs(self) -> dict[str, float]:
        """Return what all searches have cost so far; {} where the environments do not say."""
        total = Counter[str]()
        for env in self._envs:
            costs = getattr(env.unwrapped, "costs", None)
            if isinstance(costs, Costs):
                total.update(asdict(costs))
        return dict(total)

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()
