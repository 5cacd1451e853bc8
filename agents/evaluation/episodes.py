"""Plays an agent in the slots of an environment pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import islice

from agents.agent import Agent
from agents.env_pool import EnvPool, episode_seed
from agents.evaluation.episode_result import EpisodeResult
from zs_env.transcripts.transcript import Transcript


def play_episodes(
    agent: Agent, pool: EnvPool, question_indices: Iterable[int], *, seed: int = 0
) -> Iterator[tuple[EpisodeResult, Transcript | None]]:
    """Play one episode of each question and yield each as it ends.

    Args:
        agent: see `agents.agent.Agent`.
        pool: the environments; it is left open.
        question_indices: questions to play.
        seed: each episode's seed is `episode_seed(seed, question_index)`.

    Raises:
        TypeError: if an action of the agent is not a string.
    """
    waiting = iter(question_indices)
    actors = _SlotAgents(agent, pool.num_slots)
    while True:
        free = pool.free_slots
        starting = dict(zip(free, islice(waiting, len(free)), strict=False))
        if starting:
            seeds = {slot: episode_seed(seed, index) for slot, index in starting.items()}
            pool.start(starting, seeds=seeds)
            for slot in starting:
                actors.reset(slot, seeds[slot])
        if not pool.active:
            return
        for slot in pool.step(actors.act(pool)):
            transcript = pool.transcript(slot)
            index = pool.question_indices[slot]
            if transcript is None:
                yield EpisodeResult.from_info(index, pool.info(slot)), None
            else:
                yield EpisodeResult.from_transcript(index, transcript), transcript


class _SlotAgents:
    """The agent of each slot: one agent for all, or a copy in each if it keeps episode state."""

    def __init__(self, agent: Agent, num_slots: int) -> None:
        self._agent = agent
        self._act_batch = getattr(agent, "act_batch", None)
        self._keeps_state = self._act_batch is None and hasattr(agent, "reset")
        self._agents = [deepcopy(agent) if self._keeps_state else agent for _ in range(num_slots)]

    def reset(self, slot: int, seed: int) -> None:
        if self._keeps_state:
            self._agents[slot].reset(seed)  # type: ignore[attr-defined]

    def act(self, pool: EnvPool) -> dict[int, str]:
        """Return the next action of every active slot."""
        slots = pool.active
        texts: Sequence[str]
        if self._act_batch is not None:
            texts = self._act_batch(
                [pool.observation(slot) for slot in slots], [pool.info(slot) for slot in slots]
            )
        else:
            texts = [self._agents[slot].act(pool.observation(slot)) for slot in slots]
        name = type(self._agent).__name__
        if len(texts) != len(slots):
            raise TypeError(
                f"{name}.act_batch returned {len(texts)} texts for {len(slots)} observations; "
                "expected one for each, in order"
            )
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(
                    f"{name} acted with {type(text).__name__}; return the text to act with, as a "
                    "string"
                )
        return dict(zip(slots, texts, strict=True))
