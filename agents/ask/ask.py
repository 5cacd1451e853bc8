"""Answers the questions of a user: one with live output, or many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from gymnasium.vector import AutoresetMode

from agents.agent import Agent, AgentFailure
from agents.ask.reply import Reply
from agents.ask.view import View
from agents.env_pool import EnvPool, episode_seed
from agents.evaluation.evaluate import play_episodes
from zs_env.env import ZeroSearchEnv
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.vector_env import ZeroSearchVectorEnv


def ask(
    agent: Agent,
    question: Question,
    engine: SearchEngine,
    *,
    view: View,
    seed: int,
    noise: float,
    rules: Mapping[str, Any],
) -> Reply:
    """Play one question and show it live; the engine is not closed.

    The text of an agent with `stream` is shown piece by piece. `rules` are further arguments of
    `ZeroSearchEnv`.
    """
    stream = getattr(agent, "stream", None)
    with closing(ZeroSearchEnv([question], engine, noise=noise, **rules)) as env:
        view.question(question.text)
        own_seed = episode_seed(seed, 0)
        observation, info = env.reset(seed=own_seed, options={"question_index": 0})
        if hasattr(agent, "reset"):
            agent.reset(own_seed)  # type: ignore[attr-defined]
        over, failure = False, None
        while not over:
            try:
                if stream is not None:
                    text = stream(observation, info, view.piece)
                else:
                    text = agent.act(observation)
                    view.piece(text)
            except AgentFailure as error:
                failure = str(error)
                break
            observation, _, terminated, truncated, info = env.step(text)
            over = terminated or truncated
            if not over:
                view.page(info["documents"], observation["message"])
        transcript = env.transcript()
    reply = Reply.of(transcript if failure is None else transcript.failed(failure))
    view.reply(reply)
    return reply


def ask_all(
    agent: Agent,
    questions: Sequence[Question],
    engine: SearchEngine,
    *,
    numbers: Iterable[int],
    concurrency: int,
    seed: int,
    noise: float,
    rules: Mapping[str, Any],
) -> Iterator[tuple[int, Reply]]:
    """Play the questions of these numbers; yield each reply with its number when it is complete.

    The replies do not depend on `concurrency`. The engine is not closed. `rules` are further
    arguments of `ZeroSearchEnv`.
    """
    vector = ZeroSearchVectorEnv(
        concurrency, questions, engine, autoreset_mode=AutoresetMode.DISABLED, **rules
    )
    with closing(EnvPool(vector, options={"noise_probability": noise})) as pool:
        for result, transcript in play_episodes(agent, pool, numbers, seed=seed):
            assert transcript is not None, "ZeroSearchVectorEnv keeps transcripts"
            yield result.index, Reply.of(transcript)
