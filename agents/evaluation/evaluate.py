"""Evaluates an agent: plays it, keeps every episode, reports means with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from agents.agent import Agent
from agents.env_pool import EnvPool, open_pool
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.episodes import play_episodes
from agents.evaluation.record import EvaluationRecord
from agents.evaluation.summary import Report
from agents.specs import data_files

DEFAULT_CONCURRENCY = 64
OnEpisode = Callable[[EpisodeResult], None]
OnCosts = Callable[[Mapping[str, float]], None]


def evaluate(
    agent: Agent,
    env_id: str = "ZeroSearch-v0",
    *,
    episodes: int = 200,
    seed: int = 0,
    noise: float | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    output: str | Path | None = None,
    agent_name: str | None = None,
    fingerprint: str | None = None,
    on_start: Callable[[int, int], None] | None = None,
    on_episode: OnEpisode | None = None,
    on_costs: OnCosts | None = None,
) -> Report:
    """Play questions 0 to `episodes` - 1 once each.

    Every episode's luck follows from `seed` and its question's number alone: neither concurrency
    nor an interruption changes a figure. With `output` the same call plays what is missing there,
    and again what a failure of the engine ended.

    Args:
        agent: see `agents.agent.Agent`.
        env_id: any registered id whose actions are texts.
        episodes: questions played; all there are where the environment has fewer.
        seed: at least 0.
        noise: chance in [0, 1] that a search returns noise; None for the environment's own.
        env_kwargs: passed to the environment; JSON values if `output` is given.
        concurrency: episodes played at once.
        output: folder for results and transcripts; an evaluation of the same setting, of the same
            data files, is continued there. None keeps nothing.
        agent_name: what the report calls the agent; its class's name by default.
        fingerprint: changes when the agent does; one that differs continues no evaluation. The
            agent's own `fingerprint` by default.
        on_start: called with the number of episodes wanted and of sound ones found in `output`.
        on_episode: called with each episode as it ends.
        on_costs: called after each episode with what the searches of this call have cost so far.

    Raises:
        ValueError: if an argument is out of range, or `output` holds another evaluation or is
            written to by another process.
    """
    least = {"episodes": (episodes, 1), "concurrency": (concurrency, 1), "seed": (seed, 0)}
    for name, (value, bound) in least.items():
        if value < bound:
            raise ValueError(f"{name} must be at least {bound}, got {value}")
    setting = {
        "agent": agent_name or type(agent).__name__,
        "env": env_id,
        "seed": seed,
        "noise": noise,
        "env_kwargs": dict(env_kwargs or {}),
        "fingerprint": fingerprint or getattr(agent, "fingerprint", None),
        "files": data_files(dict(env_kwargs or {})),
    }
    results, costs = dict[int, EpisodeResult](), dict[str, float]()
    with nullcontext() if output is None else EvaluationRecord.open(output, setting) as record:
        left = list(range(episodes))
        if record:
            results.update(enumerate(record.results[:episodes]))
            left = record.missing(episodes)
        if not left:  # no engine is opened for what is already known
            if on_start:
                on_start(episodes, episodes)
        else:
            pool = open_pool(
                env_id, min(concurrency, len(left)), env_kwargs=env_kwargs, noise=noise
            )
            with closing(pool):
                num_episodes = min(episodes, pool.num_questions or episodes)
                left = [index for index in left if index < num_episodes]
                if on_start:
                    on_start(num_episodes, num_episodes - len(left))
                results |= _play(agent, pool, left, seed, record, on_episode, on_costs)
                costs = pool.costs()
            if record and left:
                record.add_costs(costs)
    shown = {name: setting[name] for name in setting if name not in ("fingerprint", "files")}
    return Report.of(
        [results[index] for index in sorted(results)],
        setting=shown,
        folder=str(record.folder) if record else None,
        costs=costs,
    )


def _play(
    agent: Agent,
    pool: EnvPool,
    indices: Sequence[int],
    seed: int,
    record: EvaluationRecord | None,
    on_episode: OnEpisode | None,
    on_costs: OnCosts | None,
) -> dict[int, EpisodeResult]:
    results = {}
    for result, transcript in play_episodes(agent, pool, indices, seed=seed):
        results[result.index] = result
        if record:
            record.add(result, transcript)
        if on_episode:
            on_episode(result)
        if on_costs:
            on_costs(pool.costs())
    return results
