"""Plays several episodes at once, each in a numbered slot.

A slot whose episode has ended is free for the next one, so no episode waits for the slowest. What
happens in an episode depends on its question, its seed and its actions, not on the other slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics

from agents.specs import env_spec
from zs_env.config import make_vector_env
from zs_env.search.types import SearchCost
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

_VECTOR_ENTRY_POINTS = (make_vector_env, "zs_env.config:make_vector_env")


def episode_seed(seed: int, question_index: int) -> int:
    """Seed of the episode of a question in an evaluation with seed `seed`."""
    return int(np.random.SeedSequence([seed, question_index]).generate_state(1)[0])


class EnvPool:
    """Slots on the sub-environments of a vector; the searches of a step are one engine call.

    Args:
        vector_env: a vector in `AutoresetMode.DISABLED` whose reset takes per-environment seeds
            and options, as `ZeroSearchVectorEnv` does.
        options: reset options of every episode, such as `noise_probability`; values that are None
            are left to the environment.

    Attributes:
        active: slots with an unfinished episode, ascending.
        question_indices: by slot, the question of its latest episode.

    Raises:
        ValueError: if the vector resets its episodes itself.
    """

    def __init__(
        self, vector_env: VectorEnv[Any, Any, Any], *, options: Mapping[str, Any] | None = None
    ) -> None:
        mode = vector_env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ValueError(
                f"the vector environment has {mode}; make it with "
                "autoreset_mode=AutoresetMode.DISABLED, so that the pool resets it"
            )
        self._set_up(vector_env.num_envs, options)
        # Gymnasium's types have no seeds per sub-environment, no transcripts and no send().
        self._env: Any = vector_env
        self._is_reset = False

    def _set_up(self, num_slots: int, options: Mapping[str, Any] | None) -> None:
        self.num_slots = num_slots
        self.active: list[int] = []
        self.question_indices = [0] * num_slots
        self._options = {key: value for key, value in (options or {}).items() if value is not None}
        self._observations: list[Any] = [None] * num_slots
        self._infos: list[Mapping[str, Any]] = [{}] * num_slots

    @property
    def num_questions(self) -> int | None:
        """Size of the question set; None if unknown."""
        return self._env.unwrapped.num_questions

    @property
    def free_slots(self) -> list[int]:
        """Slots without an unfinished episode, ascending."""
        return [slot for slot in range(self.num_slots) if slot not in self.active]

    def start(
        self,
        question_indices: Mapping[int, int],
        *,
        seeds: Mapping[int, int],
        group_seeds: Mapping[int, int] | None = None,
    ) -> None:
        """Start an episode in each of the given slots.

        Args:
            question_indices: question by slot.
            seeds: seed of the episode by slot.
            group_seeds: `group_seed` reset option by slot; None for none.
        """
        slots = list(question_indices)
        first = slots[0]
        if not self._is_reset:
            # The first reset must reset all sub-environments. A slot that is not started plays a
            # copy of the first episode, whose results are ignored.
            self.question_indices = [question_indices[first]] * self.num_slots
        for slot in slots:
            self.question_indices[slot] = question_indices[slot]
        options = {**self._options, "question_index": list(self.question_indices)}
        if group_seeds is not None:
            options["group_seed"] = self._column(group_seeds, first)
        if self._is_reset:
            options["reset_mask"] = np.isin(np.arange(self.num_slots), slots)
        observation, info = self._env.reset(seed=self._column(seeds, first), options=options)
        self._is_reset = True
        self._store(slots, observation, info)
        self.active = sorted({*self.active, *slots})

    def observation(self, slot: int) -> Any:
        """Latest observation in a slot.

        Raises:
            RuntimeError: if no episode was started there.
        """
        if self._observations[slot] is None:
            raise RuntimeError(f"slot {slot} has no episode yet; call start() first")
        return self._observations[slot]

    def info(self, slot: int) -> Mapping[str, Any]:
        """Latest info in a slot, as the environment of one episode returns it."""
        return self._infos[slot]

    def step(self, actions: Mapping[int, str]) -> list[int]:
        """Act in every active slot, given texts by slot; return the slots whose episode ended."""
        # The episode of a slot that was never started may still run; its actions are empty texts.
        texts = [actions.get(slot, "") for slot in range(self.num_slots)]
        observation, _, terminated, truncated, info = self._env.step(texts)
        self._store(self.active, observation, info)
        return self.end([slot for slot in self.active if terminated[slot] or truncated[slot]])

    def send(self, actions: Mapping[int, str]) -> None:
        """Act in some slots, none with a pending action, without waiting for their pages."""
        self._env.unwrapped.send(actions)

    def can_recv(self) -> bool:
        """Whether `recv` would return at least one slot at once."""
        return self._env.unwrapped.can_recv()

    def recv(self, timeout_s: float | None) -> tuple[list[int], list[int]]:
        """Wait for the result of at least one sent action.

        Args:
            timeout_s: longest wait in seconds; None waits as long as the engine may take.

        Returns:
            The slots whose episode continues, and those whose episode ended; see
            `ZeroSearchVectorEnv.recv`.
        """
        steps: Mapping[int, Any] = self._env.unwrapped.recv(timeout_s)
        for slot, (observation, *_, info) in steps.items():
            self._observations[slot], self._infos[slot] = observation, info
        ended = [slot for slot, (_, _, *over, _) in steps.items() if any(over)]
        return [slot for slot in steps if slot not in ended], self.end(ended)

    def transcript(self, slot: int) -> Transcript | None:
        """Transcript of the latest episode in a slot; None if its environment keeps none."""
        return self._env.unwrapped.transcript(slot)

    def costs(self) -> dict[str, float]:
        """Total cost of all searches so far; {} if the environments report none."""
        return asdict(self._env.unwrapped.costs)

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def _column(self, by_slot: Mapping[int, int], first: int) -> list[int]:
        """One value for each slot; slots that are not started get that of slot `first`."""
        return [by_slot.get(slot, by_slot[first]) for slot in range(self.num_slots)]

    def _store(
        self, slots: Sequence[int], observation: Mapping[str, Any], info: Mapping[str, Any]
    ) -> None:
        for slot in slots:
            row = {key: value[slot] for key, value in observation.items() if key != "documents"}
            if "documents" in observation:  # batched by document first
                row["documents"] = tuple(column[slot] for column in observation["documents"])
            self._observations[slot] = row
            self._infos[slot] = _info_of(info, slot)

    def end(self, slots: list[int]) -> list[int]:
        """Free slots, whether or not their episode has ended, and return them."""
        self.active = [slot for slot in self.active if slot not in slots]
        return slots


class SeparateEnvPool(EnvPool):
    """One environment for each slot, for ids without a vector environment of this package.

    `send` and `recv` are not supported. The last info of an episode has Gymnasium's `episode`
    statistics and a `reason` ("terminated" or "truncated" by default).

    Raises:
        ValueError: if actions are not texts.
    """

    def __init__(
        self,
        make_env: Callable[[], gymnasium.Env[Any, Any]],
        num_slots: int,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._set_up(num_slots, options)
        self._envs = [RecordEpisodeStatistics(make_env()) for _ in range(num_slots)]
        actions = self._envs[0].action_space
        if not isinstance(actions.sample(), str):
            env = str(self._envs[0])
            self.close()
            raise ValueError(f"{env} takes actions of {actions}, expected one that takes texts")

    @property
    def num_questions(self) -> int | None:
        return getattr(self._envs[0].unwrapped, "num_questions", None)

    def start(
        self,
        question_indices: Mapping[int, int],
        *,
        seeds: Mapping[int, int],
        group_seeds: Mapping[int, int] | None = None,
    ) -> None:
        for slot, index in question_indices.items():
            options = {**self._options, "question_index": index}
            if group_seeds is not None:
                options["group_seed"] = group_seeds[slot]
            self.question_indices[slot] = index
            self._observations[slot], self._infos[slot] = self._envs[slot].reset(
                seed=seeds[slot], options=options
            )
        self.active = sorted({*self.active, *question_indices})

    def step(self, actions: Mapping[int, str]) -> list[int]:
        ended = []
        for slot, text in actions.items():
            observation, _, terminated, truncated, info = self._envs[slot].step(text)
            self._observations[slot], self._infos[slot] = observation, info
            if terminated or truncated:
                reason = "terminated" if terminated else "truncated"
                self._infos[slot] = {"reason": reason, **info}
                ended.append(slot)
        return self.end(ended)

    def transcript(self, slot: int) -> Transcript | None:
        get_transcript = getattr(self._envs[slot].unwrapped, "transcript", None)
        transcript = get_transcript() if callable(get_transcript) else None
        return transcript if isinstance(transcript, Transcript) else None

    def costs(self) -> dict[str, float]:
        total = Counter[str]()
        for env in self._envs:
            costs = getattr(env.unwrapped, "costs", None)
            if isinstance(costs, SearchCost):
                total.update(asdict(costs))
        return dict(total)

    def close(self) -> None:
        for env in self._envs:
            env.close()


def open_pool(
    env_id: str,
    num_slots: int,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    noise: float | None = None,
) -> EnvPool:
    """Make a pool: on one vector if the id has a vector entry point of this package.

    Args:
        env_id: a registered id, optionally with the module that registers it ("module:id").
        num_slots: episodes played at once.
        env_kwargs: keyword arguments of the environment.
        noise: noise probability of every episode; None leaves it to the environment.

    Raises:
        ValueError: if actions are not texts.
    """
    options = {"noise_probability": noise}
    if _has_vector(env_id):
        return EnvPool(open_vector(env_id, num_slots, env_kwargs), options=options)
    return SeparateEnvPool(
        lambda: gymnasium.make(env_id, **(env_kwargs or {})), num_slots, options=options
    )


def open_vector(
    env_id: str, num_envs: int, env_kwargs: Mapping[str, Any] | None = None
) -> ZeroSearchVectorEnv:
    """Make the vector environment of an id, in `AutoresetMode.DISABLED`.

    Raises:
        ValueError: if the id has no vector entry point of this package.
    """
    if not _has_vector(env_id):
        raise ValueError(
            f"environment {env_id!r} has no ZeroSearchVectorEnv; choose an id that envs_registry "
            "registers"
        )
    vector = gymnasium.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.DISABLED,
        **(env_kwargs or {}),
    ).unwrapped
    assert isinstance(vector, ZeroSearchVectorEnv)
    return vector


def _has_vector(env_id: str) -> bool:
    """Whether the id's vector entry point makes a `ZeroSearchVectorEnv`."""
    return env_spec(env_id).vector_entry_point in _VECTOR_ENTRY_POINTS


def _info_of(batch: Mapping[str, Any], slot: int) -> dict[str, Any]:
    """Info of one sub-environment, from Gymnasium's batched form."""
    info: dict[str, Any] = {}
    for key, values in batch.items():
        if not key.startswith("_") and batch[f"_{key}"][slot]:
            info[key] = _info_of(values, slot) if isinstance(values, Mapping) else values[slot]
    return info
