"""From questions to groups of rollouts: a policy plays a Gymnasium vector environment.

Tokens in, tokens out: what the policy sampled is kept as sampled, and only what the environment
newly says is ever encoded. An episode that ends makes room for the next one at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.llm.episode_record import EpisodeRecord
from agents.llm.episode_seeds import EpisodeSeeds, group_seeds
from agents.llm.generator import GenerationRequest, Generator
from agents.llm.policy import Policy
from agents.llm.sampling import Sampling
from agents.llm.segments import Group, Rollout
from zs_env.transcript import Transcript

_DEFAULT_SAMPLING = Sampling()


@dataclass(slots=True, eq=False)
class _Episode:
    """One episode while it is played; `number` is its place among all, and its session's name."""

    number: int
    question_index: int
    seeds: EpisodeSeeds
    record: EpisodeRecord = field(default_factory=EpisodeRecord)
    transcript: Transcript | None = None

    def rollout(self) -> Rollout:
        assert self.transcript is not None, "the episode is not over"
        return self.record.rollout(self.transcript)


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
    share_luck: bool = False,
) -> list[Group]:
    """Play every question `group_size` times and return the groups in the questions' order.

    The result depends on the arguments only: episodes fill the sub-environments in order, and each
    samples from a random stream of its own.

    Args:
        vector_env: any number of sub-environments that show `message`, with
            `AutoresetMode.DISABLED` and per-environment options, as `ZeroSearchVectorEnv` has them.
        policy: encodes and decodes.
        generator: writes the turns; all sessions are released at the end.
        question_indices: [Q] which questions to play.
        seeds: [Q] at least 0, one per question; the environment of its first episode gets it as it
            is, all other draws follow from it.
        group_size: episodes per question.
        sampling: how tokens are drawn.
        noise_probability: chance of noise in [0, 1]; None leaves it to the environment.
        training_step: of the engine's schedule, and of the environment's noise where
            `noise_probability` is None; None leaves it to its own count.
        share_luck: whether the episodes of a group meet the same pages for the same queries.

    Raises:
        ValueError: if the lengths differ, or the environment resets itself.
    """
    if len(seeds) != len(question_indices):
        raise ValueError(
            f"got {len(seeds)} seeds for {len(question_indices)} questions; pass one per question"
        )
    if vector_env.metadata.get("autoreset_mode") is not AutoresetMode.DISABLED:
        raise ValueError(
            f"the vector environment has {vector_env.metadata.get('autoreset_mode')}; make it with "
            "autoreset_mode=AutoresetMode.DISABLED, so that rollouts reset it"
        )
    shared = {"noise_probability": noise_probability, "training_step": training_step}
    options = {name: value for name, value in shared.items() if value is not None}
    groups = [
        [
            _Episode(place * group_size + member, index, own)
            for member, own in enumerate(group_seeds(seed, group_size))
        ]
        for place, (index, seed) in enumerate(zip(question_indices, seeds, strict=True))
    ]
    episodes = list(chain.from_iterable(groups))
    _Stage(vector_env, policy, generator, sampling, options, share_luck).play(episodes)
    return [Group(rollouts=tuple(episode.rollout() for episode in group)) for group in groups]


class _Stage:
    """The sub-environments and who plays in them."""

    def __init__(
        self,
        vector_env: VectorEnv[Any, Any, Any],
        policy: Policy,
        generator: Generator,
        sampling: Sampling,
        options: dict[str, Any],
        share_luck: bool,
    ) -> None:
        self._env: Any = vector_env  # Gymnasium types neither seeds per place nor transcripts.
        self._policy = policy
        self._generator = generator
        self._sampling = sampling
        self._options = options
        self._share_luck = share_luck
        self._places: list[_Episode | None] = [None] * vector_env.num_envs
        self._begun = False

    def play(self, episodes: Sequence[_Episode]) -> None:
        """Play all episodes to their end."""
        waiting = deque(episodes)
        try:
            while waiting or any(self._places):
                self._seat(waiting)
                self._act()
        finally:
            self._generator.release([episode.number for episode in episodes])

    def _seat(self, waiting: deque[_Episode]) -> None:
        """Start waiting episodes in the free places."""
        free = [place for place, episode in enumerate(self._places) if episode is None]
        seated = free[: len(waiting)]
        if not seated:
            return
        for place in seated:
            self._places[place] = waiting.popleft()
        # A place without an episode plays along with its neighbour's question and is ignored.
        stand_in = self._places[seated[0]]
        players = [episode or stand_in for episode in self._places]
        assert stand_in is not None
        options: dict[str, Any] = {
            **self._options,
            "question_index": [player.question_index for player in players if player],
        }
        if self._share_luck:
            options["group_seed"] = [player.seeds.group for player in players if player]
        if self._begun:
            options["reset_mask"] = np.isin(np.arange(len(players)), seated)
        seeds = [player.seeds.environment for player in players if player]
        observation, _ = self._env.reset(seed=seeds, options=options)
        self._begun = True
        for place in seated:
            episode = self._places[place]
            assert episode is not None
            episode.record.begin(self._policy.encode_prompt(observation["message"][place]))

    def _act(self) -> None:
        """Let every episode act once, and clear the places of those that are over."""
        playing = {place: episode for place, episode in enumerate(self._places) if episode}
        actions = [""] * len(self._places)
        for place, action in zip(playing, self._write(list(playing.values())), strict=True):
            actions[place] = action
        observation, _, terminated, truncated, _ = self._env.step(actions)
        going = [place for place in playing if not (terminated[place] or truncated[place])]
        messages = self._policy.encode_environments([observation["message"][i] for i in going])
        for place, token_ids in zip(going, messages, strict=True):
            playing[place].record.hear(token_ids)
        over = [place for place in playing if terminated[place] or truncated[place]]
        for place in over:
            playing[place].transcript = self._env.unwrapped.transcript(place)
            self._places[place] = None
        self._generator.release([playing[place].number for place in over])

    def _write(self, episodes: Sequence[_Episode]) -> list[str]:
        """Return the action of each episode; "" where its context is full."""
        readers = [episode for episode in episodes if not episode.record.context_full]
        requests = [
            GenerationRequest(
                session=episode.number,
                token_ids=episode.record.token_ids(),
                seed=episode.seeds.sampling,
            )
            for episode in readers
        ]
        generations = self._generator.generate(requests, self._sampling) if requests else []
        written = dict.fromkeys((episode.number for episode in episodes), "")
        for episode, generation in zip(readers, generations, strict=True):
            episode.record.take(generation)
            written[episode.number] = self._policy.decode_action(generation.token_ids)
        return [written[episode.number] for episode in episodes]
