"""Where episodes are played: the sub-environments of a vector, and who sits in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from agents.llm.generators.base import Generation, GenerationRequest
from agents.llm.policy.policy import Policy
from agents.llm.rollout.episode_record import EpisodeRecord
from agents.llm.rollout.episode_seeds import EpisodeSeeds
from agents.llm.rollout.types import Rollout
from zs_env.transcripts.transcript import Transcript


@dataclass(slots=True, eq=False)
class PlayedEpisode:
    """One episode while it is played; `number` is its place among all, and its session's name."""

    number: int
    question_index: int
    seeds: EpisodeSeeds
    record: EpisodeRecord = field(default_factory=EpisodeRecord)
    transcript: Transcript | None = None

    def request(self) -> GenerationRequest:
        """Ask for its next turn."""
        ids = self.record.token_ids()
        return GenerationRequest(session=self.number, token_ids=ids, seed=self.seeds.sampling)

    def rollout(self) -> Rollout:
        """The episode as it was played to its end."""
        assert self.transcript is not None, "the episode is not over"
        return self.record.rollout(self.transcript)


class Stage:
    """The sub-environments and who plays in them; episodes fill them in order.

    Args:
        vector_env: see `agents.llm.rollout.collect.collect_rollouts`.
        policy: encodes and decodes.
        options: of every reset.
        share_group_seed: whether the episodes of a group meet the same pages for the same queries.

    Attributes:
        playing: episodes by the number of their sub-environment.
    """

    def __init__(
        self,
        vector_env: VectorEnv[Any, Any, Any],
        policy: Policy,
        options: Mapping[str, Any],
        *,
        share_group_seed: bool,
    ) -> None:
        self.env: Any = vector_env  # Gymnasium types neither seeds per place nor transcripts.
        self.playing: dict[int, PlayedEpisode] = {}
        self._policy = policy
        self._options = dict(options)
        self._share_luck = share_group_seed
        self._begun = False

    def seat(self, waiting: deque[PlayedEpisode]) -> list[int]:
        """Start waiting episodes in the free places, and return these places."""
        num_envs = self.env.num_envs
        free = [place for place in range(num_envs) if place not in self.playing]
        seated = free[: len(waiting)]
        if not seated:
            return []
        for place in seated:
            self.playing[place] = waiting.popleft()
        # A place without an episode plays along with its neighbour's question and is ignored.
        stand_in = self.playing[seated[0]]
        players = [self.playing.get(place, stand_in) for place in range(num_envs)]
        options: dict[str, Any] = {
            **self._options,
            "question_index": [player.question_index for player in players],
        }
        if self._share_luck:
            options["group_seed"] = [player.seeds.group for player in players]
        if self._begun:
            options["reset_mask"] = np.isin(np.arange(num_envs), seated)
        seeds = [player.seeds.environment for player in players]
        observation, _ = self.env.reset(seed=seeds, options=options)
        self._begun = True
        for place in seated:
            prompt = self._policy.encode_prompt(observation["message"][place])
            self.playing[place].record.begin(prompt)
        return seated

    def take(self, place: int, generation: Generation) -> str:
        """Record a turn and return the action that it is."""
        self.playing[place].record.take(generation)
        return self._policy.decode_action(generation.token_ids)

    def hear(self, messages: Mapping[int, str]) -> None:
        """Record what episodes that go on were told, by place."""
        encoded = self._policy.encode_environments(list(messages.values()))
        for place, token_ids in zip(messages, encoded, strict=True):
            self.playing[place].record.hear(token_ids)

    def finish(self, places: Iterable[int]) -> Sequence[int]:
        """Clear the places of episodes that are over, and return their numbers."""
        numbers = []
        for place in places:
            episode = self.playing.pop(place)
            episode.transcript = self.env.unwrapped.transcript(place)
            numbers.append(episode.number)
        return numbers
