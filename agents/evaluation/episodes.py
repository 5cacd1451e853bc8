"""The loop that plays an agent: as many episodes at once as there are seats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any

from agents.agent import Agent
from agents.evaluation.env_pool import Seats, episode_seed
from agents.evaluation.episode_result import EpisodeResult
from zs_env.transcripts.transcript import Transcript


def play_episodes(
    agent: Agent, seats: Seats, indices: Iterable[int], *, seed: int = 0
) -> Iterator[tuple[EpisodeResult, Transcript | None]]:
    """Play the questions of the given numbers; yield each episode as it ends.

    Raises:
        TypeError: if the agent writes something that is not a string.
    """
    waiting = iter(indices)
    players = _Players(agent, seats.num_seats)
    free, playing = list(range(seats.num_seats)), list[int]()
    while True:
        starts = dict(zip(free, islice(waiting, len(free)), strict=False))
        if starts:
            seats.start(starts)
            for seat, index in starts.items():
                players.reset(seat, episode_seed(seed, index))
            free = [seat for seat in free if seat not in starts]
            playing = sorted([*playing, *starts])
        if not playing:
            return
        texts = players.act({seat: seats.observation(seat) for seat in playing})
        for seat in seats.act(texts):
            playing.remove(seat)
            free.append(seat)
            yield seats.outcome(seat)


class _Players:
    """One agent at all seats; an agent that keeps an episode's state has a copy at each."""

    def __init__(self, agent: Agent, num_seats: int) -> None:
        self._agent = agent
        self._act_batch = getattr(agent, "act_batch", None)
        keeps_state = self._act_batch is None and hasattr(agent, "reset")
        self._agents = [deepcopy(agent) if keeps_state else agent for _ in range(num_seats)]
        self._keeps_state = keeps_state

    def reset(self, seat: int, seed: int) -> None:
        if self._keeps_state:
            self._agents[seat].reset(seed)  # type: ignore[attr-defined]

    def act(self, observations: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
        texts: Sequence[object]
        if self._act_batch is not None:
            texts = self._act_batch(list(observations.values()))
        else:
            texts = [self._agents[seat].act(seen) for seat, seen in observations.items()]
        if len(texts) != len(observations):
            raise TypeError(
                f"{type(self._agent).__name__}.act_batch returned {len(texts)} texts for "
                f"{len(observations)} observations; expected one for each, in order"
            )
        acts: dict[int, str] = {}
        for seat, text in zip(observations, texts, strict=True):
            if not isinstance(text, str):
                raise TypeError(
                    f"{type(self._agent).__name__} acted with {type(text).__name__}; an agent "
                    "returns the text it writes, as a string"
                )
            acts[seat] = text
        return acts
