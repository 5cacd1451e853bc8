"""Evaluates an agent: plays episodes, stores them, and reports means with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium

from agents.agent import Agent, AgentFailure
from agents.agent_labels import split_label
from agents.env_pool import EnvPool, episode_seed, open_pool
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluation_folder import EvaluationRecord
from agents.evaluation.summary import Report
from agents.specs import by_content, served_models
from zs_env.transcripts.transcript import Transcript

DEFAULT_CONCURRENCY = 64


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
    fresh: bool = False,
    agent_name: str | None = None,
    agent_label: str | None = None,
    fingerprint: str | None = None,
    on_start: Callable[[int, int], None] | None = None,
    on_episode: Callable[[EpisodeResult], None] | None = None,
    on_costs: Callable[[Mapping[str, float]], None] | None = None,
) -> Report:
    """Play questions 0 to `episodes` - 1 once each.

    The randomness of an episode is derived from `seed` and the number of its question, so neither
    concurrency nor an interruption changes the results. With `output`, the same call plays the
    missing episodes, and replays those that a failure ended.

    Args:
        agent: see `agents.agent.Agent`.
        env_id: a registered id whose actions are texts.
        episodes: questions to play; all if the environment has fewer.
        seed: at least 0.
        noise: noise probability of a search, in [0, 1]; the environment's own by default.
        env_kwargs: arguments of the environment; JSON values if `output` is given.
        concurrency: episodes played at once.
        output: folder for results and transcripts; an evaluation with the same setting and data
            files is continued. None writes nothing.
        fresh: delete the evaluation in `output` first.
        agent_name: name of the agent, as for `agents.agent_registry.build_agent`; its class's name
            by default.
        agent_label: label of the agent in reports; that of its name by default, see
            `agents.agent_labels.split_label`. It may change when an evaluation is continued.
        fingerprint: identifies the agent; an evaluation with another fingerprint is not continued.
            The agent's own `fingerprint` by default.
        on_start: called with the number of episodes, and of those found complete in `output`.
        on_episode: called with each episode when it ends.
        on_costs: called after each episode with the costs of this call's searches so far.

    Raises:
        ConnectionError: if a server that `env_kwargs` names cannot be reached.
        ValueError: if an argument is out of range, or `output` contains another evaluation or is
            locked by another process.
    """
    minimums = {"episodes": (episodes, 1), "concurrency": (concurrency, 1), "seed": (seed, 0)}
    for name, (value, minimum) in minimums.items():
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")
    env_kwargs = dict(env_kwargs or {})
    label, name = split_label(agent_name or type(agent).__name__)
    setting = {
        "agent": name,
        "label": agent_label or label,
        "env": env_id,
        "seed": seed,
        "noise": noise,
        "env_kwargs": env_kwargs,
        "fingerprint": fingerprint or getattr(agent, "fingerprint", None),
        "files": by_content(env_kwargs),
        **_models(env_id, env_kwargs),
    }
    results, costs = dict[int, EpisodeResult](), dict[str, float]()
    with (
        nullcontext()
        if output is None
        else EvaluationRecord.open(output, setting, fresh=fresh) as record
    ):
        missing = list(range(episodes))
        if record:
            results.update(enumerate(record.results[:episodes]))
            missing = record.missing(episodes)
        if not missing:  # do not open an engine if all episodes are known
            if on_start:
                on_start(episodes, episodes)
        else:
            pool = open_pool(
                env_id, min(concurrency, len(missing)), env_kwargs=env_kwargs, noise=noise
            )
            with closing(pool):
                num_episodes = min(episodes, pool.num_questions or episodes)
                missing = [index for index in missing if index < num_episodes]
                if on_start:
                    on_start(num_episodes, num_episodes - len(missing))
                for result, transcript in play_episodes(agent, pool, missing, seed=seed):
                    results[result.index] = result
                    if record:
                        record.add(result, transcript)
                    if on_episode:
                        on_episode(result)
                    if on_costs:
                        on_costs(pool.costs())
                costs = pool.costs()
            if record and missing:
                record.add_costs(costs)
    shown = {
        name: setting[name] for name in setting if name not in ("fingerprint", "files", "models")
    }
    return Report.of(
        [results[index] for index in sorted(results)],
        setting=shown,
        folder=str(record.folder) if record else None,
        costs=costs,
    )


def _models(env_id: str, env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    registered = gymnasium.registry.get(env_id)
    models = served_models({**(registered.kwargs if registered else {}), **env_kwargs})
    return {"models": models} if models else {}


def play_episodes(
    agent: Agent, pool: EnvPool, question_indices: Iterable[int], *, seed: int = 0
) -> Iterator[tuple[EpisodeResult, Transcript | None]]:
    """Play one episode of each question and yield each as it ends.

    A failure of the agent ends its episode like a failure of the engine.

    Args:
        agent: see `agents.agent.Agent`.
        pool: the environments; it is left open.
        question_indices: questions to play.
        seed: each episode's seed is `episode_seed(seed, question_index)`.

    Raises:
        TypeError: if an action of the agent is not a string.
    """
    waiting = iter(question_indices)
    # One agent acts for all slots; an agent that keeps the state of an episode is copied for each.
    keeps_state = not hasattr(agent, "act_batch") and hasattr(agent, "reset")
    agents = [deepcopy(agent) if keeps_state else agent for _ in range(pool.num_slots)]
    while True:
        free = pool.free_slots
        starting = dict(zip(free, islice(waiting, len(free)), strict=False))
        if starting:
            seeds = {slot: episode_seed(seed, index) for slot, index in starting.items()}
            pool.start(starting, seeds=seeds)
            if keeps_state:
                for slot in starting:
                    agents[slot].reset(seeds[slot])  # type: ignore[attr-defined]
        if not pool.active:
            return
        actions = dict[int, str]()
        for slot, action in _actions(agents, pool).items():
            if isinstance(action, AgentFailure):
                pool.end([slot])
                yield _failed(pool, slot, str(action))
            else:
                actions[slot] = action
        for slot in pool.step(actions) if actions else ():
            transcript = pool.transcript(slot)
            index = pool.question_indices[slot]
            if transcript is None:
                yield EpisodeResult.from_info(index, pool.info(slot)), None
            else:
                yield EpisodeResult.from_transcript(index, transcript), transcript


def _failed(pool: EnvPool, slot: int, failure: str) -> tuple[EpisodeResult, Transcript | None]:
    """Return the episode of a slot as failed."""
    index, transcript = pool.question_indices[slot], pool.transcript(slot)
    if transcript is None:
        statistics = {"episode": {"r": 0.0, "l": 0}}
        info = {**statistics, **pool.info(slot), "reason": "failure", "failure": failure}
        return EpisodeResult.from_info(index, info), None
    transcript = transcript.failed(failure)
    return EpisodeResult.from_transcript(index, transcript), transcript


def _actions(agents: Sequence[Agent], pool: EnvPool) -> dict[int, str | AgentFailure]:
    """Return the next action of every active slot, or the failure of its agent."""
    slots = pool.active
    act_batch = getattr(agents[0], "act_batch", None)
    texts: Sequence[str | AgentFailure]
    if act_batch is not None:
        texts = act_batch(
            [pool.observation(slot) for slot in slots], [pool.info(slot) for slot in slots]
        )
    else:
        texts = [_act(agents[slot], pool.observation(slot)) for slot in slots]
    name = type(agents[0]).__name__
    if len(texts) != len(slots):
        raise TypeError(
            f"{name}.act_batch returned {len(texts)} texts for {len(slots)} observations; "
            "expected one for each, in order"
        )
    for text in texts:
        if not isinstance(text, str | AgentFailure):
            raise TypeError(
                f"{name} acted with {type(text).__name__}; return the text to act with, as a string"
            )
    return dict(zip(slots, texts, strict=True))


def _act(agent: Agent, observation: Mapping[str, Any]) -> str | AgentFailure:
    try:
        return agent.act(observation)
    except AgentFailure as failure:
        return failure
