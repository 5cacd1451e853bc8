"""From questions to groups of rollouts: a policy plays a Gymnasium vector environment.

Tokens in, tokens out: what the policy sampled is kept as sampled, and only what the environment
newly says is ever encoded. An episode that ends makes room for the next one at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv

from agents.llm.generators.base import Generator, generate
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.rollout.env_pool import PlayedEpisode, Stage
from agents.llm.rollout.episode_seeds import group_seeds
from agents.llm.rollout.types import Group

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
        share_group_seed: whether the episodes of a group meet the same pages for the same queries.
        lock_step: whether all turns are awaited, then all pages, so that batches never depend on
            how long an engine takes, nor do last bits. Without it no episode waits for another:
            the engine gets a call for each search, and the environment needs `send` and `recv`.

    Raises:
        ValueError: if the lengths differ, or the environment resets itself or cannot play apart.
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
    if not lock_step and not hasattr(vector_env.unwrapped, "send"):
        raise ValueError(
            f"{type(vector_env.unwrapped).__name__} has no send() and recv(), so its episodes "
            "cannot be played apart; pass lock_step=True"
        )
    shared = {"noise_probability": noise_probability, "training_step": training_step}
    options = {name: value for name, value in shared.items() if value is not None}
    groups = [
        [
            PlayedEpisode(place * group_size + member, index, drawing)
            for member, drawing in enumerate(group_seeds(seed, group_size))
        ]
        for place, (index, seed) in enumerate(zip(question_indices, seeds, strict=True))
    ]
    episodes = list(chain.from_iterable(groups))
    stage = Stage(vector_env, policy, options, share_group_seed=share_group_seed)
    play = _play_in_step if lock_step else _play_apart
    try:
        play(stage, generator, sampling, deque(episodes))
    finally:
        generator.release([episode.number for episode in episodes])
    return [Group(rollouts=tuple(episode.rollout() for episode in group)) for group in groups]


def _play_in_step(
    stage: Stage, generator: Generator, sampling: Sampling, waiting: deque[PlayedEpisode]
) -> None:
    """Every episode writes a turn, then every episode gets its page."""
    while waiting or stage.playing:
        stage.seat(waiting)
        places = sorted(stage.playing)
        readers = [place for place in places if not stage.playing[place].record.context_full]
        requests = [stage.playing[place].request() for place in readers]
        actions = [""] * stage.env.num_envs
        for place, generation in zip(readers, generate(generator, requests, sampling), strict=True):
            actions[place] = stage.take(place, generation)
        observation, _, terminated, truncated, _ = stage.env.step(actions)
        over = [place for place in places if terminated[place] or truncated[place]]
        going = [place for place in places if place not in over]
        stage.hear({place: observation["message"][place] for place in going})
        generator.release(stage.finish(over))


def _play_apart(
    stage: Stage, generator: Generator, sampling: Sampling, waiting: deque[PlayedEpisode]
) -> None:
    """Each episode goes on as soon as its own turn is written, or its own page has come."""
    env = stage.env.unwrapped
    writing: dict[int, int] = {}  # place by session
    turning = stage.seat(waiting)
    while stage.playing:
        readers = [place for place in turning if not stage.playing[place].record.context_full]
        writing |= {stage.playing[place].number: place for place in readers}
        generator.submit([stage.playing[place].request() for place in readers], sampling)
        actions = {place: "" for place in turning if place not in readers}
        for session, generation in generator.poll(env.can_recv).items():
            place = writing.pop(session)
            actions[place] = stage.take(place, generation)
        env.send(actions)
        # With no turn left to write there is nothing to do but wait for a page.
        turning, over = _receive(stage, env.recv(0.0 if writing else None))
        generator.release(stage.finish(over))
        turning += stage.seat(waiting)


def _receive(stage: Stage, steps: Mapping[int, Any]) -> tuple[list[int], list[int]]:
    """Record what environments answered; return the places that go on, and those that are over."""
    over = [place for place, (_, _, done, cut, _) in steps.items() if done or cut]
    going = [place for place in steps if place not in over]
    stage.hear({place: steps[place][0]["message"] for place in going})
    return going, over
