"""Collects rollouts: a policy plays the questions of a step in a vector environment.

The sampled ids are kept as they are; only new text of the environment is encoded, and text of the
chat template between turns. When an episode ends,
the next one starts in its slot at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gymnasium.vector import VectorEnv

from agents.env_pool import EnvPool
from agents.llm.generators.base import Generation, Generator, generate
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.rollout.question_order import group_seeds
from agents.llm.rollout.types import Group, TokenEpisode

_DEFAULT_SAMPLING = Sampling()


def collect_rollouts(
    vector_env: VectorEnv[Any, Any, Any],
    policy: Policy,
    generator: Generator,
    *,
    question_indices: Sequence[int],
    seeds: Sequence[int],
    group_size: int,
    sampling: Sampling = _DEFAULT_SAMPLING,
    noise_probability: float | None = None,
    training_step: int | None = None,
    share_group_seed: bool = False,
    lock_step: bool = True,
) -> list[Group]:
    """Play every question `group_size` times and return the groups in the order of the questions.

    The result depends only on the arguments: episodes start in a fixed order, and each samples
    from its own random stream.

    Args:
        vector_env: see `EnvPool`; any number of sub-environments.
        policy: encodes and decodes.
        generator: generates the turns; all sessions are released at the end.
        question_indices: [Q] questions to play.
        seeds: [Q] at least 0, one for each question; see `group_seeds`.
        group_size: episodes of each question.
        sampling: temperature and longest turn.
        noise_probability: in [0, 1]; None leaves it to the environment.
        training_step: step of the engine's schedules, and of the environment's noise schedule if
            `noise_probability` is None; None leaves it to the environment's own count.
        share_group_seed: whether all episodes of a group get the same pages for the same queries.
        lock_step: whether to wait for all turns, then for all pages. Batches then do not depend on
            the engine's latency, so the result is the same to the last bit. If False, no episode
            waits for another: each search is its own engine call, and the environment needs
            `send` and `recv`.

    Raises:
        ValueError: if the lengths differ, or the environment resets itself or lacks `send`.
    """
    if len(seeds) != len(question_indices):
        raise ValueError(
            f"got {len(seeds)} seeds for {len(question_indices)} questions; pass one per question"
        )
    if not lock_step and not hasattr(vector_env.unwrapped, "send"):
        raise ValueError(
            f"{type(vector_env.unwrapped).__name__} has no send() and recv(), so its episodes "
            "wait for each other; pass lock_step=True"
        )
    options = {"noise_probability": noise_probability, "training_step": training_step}
    pool = EnvPool(vector_env, options=options)
    groups = [
        [
            TokenEpisode(number * group_size + member, index, *episode_seeds)
            for member, episode_seeds in enumerate(group_seeds(seed, group_size))
        ]
        for number, (index, seed) in enumerate(zip(question_indices, seeds, strict=True))
    ]
    episodes = list(chain.from_iterable(groups))
    collector = _Collector(
        pool=pool,
        policy=policy,
        generator=generator,
        sampling=sampling,
        share_group_seed=share_group_seed,
        waiting=deque(episodes),
    )
    try:
        if lock_step:
            collector.run_in_lock_step()
        else:
            collector.run_asynchronously()
    finally:
        generator.release([episode.session for episode in episodes])
    return [Group(rollouts=tuple(episode.rollout() for episode in group)) for group in groups]


@dataclass(kw_only=True, slots=True, eq=False)
class _Collector:
    """Plays token episodes in the slots of a pool."""

    pool: EnvPool
    policy: Policy
    generator: Generator
    sampling: Sampling
    share_group_seed: bool
    waiting: deque[TokenEpisode]
    by_slot: dict[int, TokenEpisode] = field(default_factory=dict)

    def run_in_lock_step(self) -> None:
        """Alternate between one turn of every episode and one step of every environment."""
        while self.waiting or self.by_slot:
            self._start_waiting()
            slots = self.pool.active
            actions = dict.fromkeys(slots, "")
            writing = [slot for slot in slots if not self.by_slot[slot].context_full]
            requests = [self.by_slot[slot].request() for slot in writing]
            turns = generate(self.generator, requests, self.sampling)
            for slot, turn in zip(writing, turns, strict=True):
                actions[slot] = self._append_action(slot, turn)
            ended = self.pool.step(actions)
            self._append_observations(self.pool.active)
            self._finish(ended)

    def run_asynchronously(self) -> None:
        """Continue each episode as soon as its own turn or its own page is there."""
        slot_of: dict[int, int] = {}  # of the sessions whose turn is being generated
        ready = self._start_waiting()
        while self.by_slot:
            writing = [slot for slot in ready if not self.by_slot[slot].context_full]
            slot_of |= {self.by_slot[slot].session: slot for slot in writing}
            requests = [self.by_slot[slot].request() for slot in writing]
            self.generator.submit(requests, self.sampling)
            actions = {slot: "" for slot in ready if slot not in writing}
            for session, turn in self.generator.poll(self.pool.can_recv).items():
                slot = slot_of.pop(session)
                actions[slot] = self._append_action(slot, turn)
            self.pool.send(actions)
            # If no turn is left to generate, wait for a page.
            ready, ended = self.pool.recv(0.0 if slot_of else None)
            self._append_observations(ready)
            self._finish(ended)
            ready += self._start_waiting()

    def _start_waiting(self) -> list[int]:
        """Start waiting episodes in free slots and return these slots."""
        slots = self.pool.free_slots[: len(self.waiting)]
        if not slots:
            return []
        starting = {slot: self.waiting.popleft() for slot in slots}
        self.by_slot |= starting
        groups = {slot: episode.group_seed for slot, episode in starting.items()}
        self.pool.start(
            {slot: episode.question_index for slot, episode in starting.items()},
            seeds={slot: episode.environment_seed for slot, episode in starting.items()},
            group_seeds=groups if self.share_group_seed else None,
        )
        for slot, episode in starting.items():
            message = self.pool.observation(slot)["message"]
            episode.append_prompt(self.policy.codec.encode_prompt(message))
        return slots

    def _append_action(self, slot: int, turn: Generation) -> str:
        """Record a turn and return its text."""
        self.by_slot[slot].append_action(turn)
        return self.policy.codec.decode_action(turn.token_ids)

    def _append_observations(self, slots: Sequence[int]) -> None:
        messages = [self.pool.observation(slot)["message"] for slot in slots]
        # After a turn without a token, the context is full and the observation is not recorded.
        turns = [self.by_slot[slot].segments[-1].token_ids for slot in slots]
        encoded = self.policy.codec.encode_observations(messages, turns)
        for slot, token_ids in zip(slots, encoded, strict=True):
            self.by_slot[slot].append_observation(token_ids)

    def _finish(self, slots: Iterable[int]) -> None:
        """Keep the transcripts of ended episodes and release their sessions."""
        ended = {slot: self.by_slot.pop(slot) for slot in slots}
        for slot, episode in ended.items():
            episode.transcript = self.pool.transcript(slot)
        self.generator.release([episode.session for episode in ended.values()])
