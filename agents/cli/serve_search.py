"""`zerosearch serve-search`: serves an engine over HTTP to other frameworks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import tyro
from rich.console import Console

from agents.specs import spec_from_text
from zs_env.config import WORLD, build_engine, build_questions
from zs_env.engines import CachedEngine
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.noise import NoiseSchedule


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Answer POST /retrieve like Search-R1's retriever, with optional noise.

    If the environment variable ZEROSEARCH_SERVE_TOKEN is set, clients must send its value as the
    bearer token.

    Attributes:
        engine: a JSON spec, a kind, or a passage file; the embedded world's engine by default.
        questions: questions that clients may name by "question_id": a JSON spec, a kind, or a data
            file. The embedded world's engine needs none.
        noise: noise probability in [0, 1]; can be changed with PUT /noise.
        noise_end: final noise probability of an exponential schedule over `noise_searches`.
        noise_searches: length of the schedule in searches.
        host: address to bind.
        port: 0 selects a free port.
        cache: file that stores all pages; by default they are kept in memory.
        requests_per_second: rate limit over all clients; no limit by default.
        timeout: seconds until a request must be answered.
    """

    engine: str = '{"kind": "world"}'
    questions: str | None = None
    noise: float = 0.0
    noise_end: float | None = None
    noise_searches: int = 10_000
    host: str = "127.0.0.1"
    port: int = 8000
    cache: str | None = None
    requests_per_second: float | None = None
    timeout: float = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is stopped; returns the exit status."""
    config = tyro.cli(ServeConfig, prog="zerosearch serve-search", args=argv)
    try:
        from aiohttp import web

        from zs_env.server.app import SearchServer, ServerSettings
    except ImportError as error:
        raise ValueError(
            'serving needs aiohttp, msgpack and prometheus-client; pip install "zerosearch-gym'
            f'[serve]" ({error})'
        ) from error
    by_id = None
    questions = build_questions(WORLD)
    if config.questions is not None:
        questions = build_questions(spec_from_text(config.questions, role="questions"))
        by_id = {questions[n].id: questions[n] for n in range(len(questions))}
    engine = CachedEngine(
        build_engine(spec_from_text(config.engine, role="engine"), questions), config.cache
    )
    noise = NoiseSchedule(
        config.noise,
        config.noise if config.noise_end is None else config.noise_end,
        total_steps=config.noise_searches,
    )
    settings = ServerSettings(
        token=os.environ.get(TOKEN_VARIABLE) or None,
        requests_per_second=config.requests_per_second,
        timeout_s=config.timeout,
    )
    server = SearchServer(engine, noise=noise, questions=by_id, settings=settings)
    console = Console(stderr=True)
    console.print(
        f"serving {engine.name} at http://{config.host}:{config.port}/retrieve, noise "
        f"{config.noise:g}" + (f" → {noise.end:g}" if config.noise_end is not None else "")
    )
    try:
        web.run_app(
            server.application(),
            host=config.host,
            port=config.port,
            shutdown_timeout=settings.shutdown_s,
            print=None,
        )
    finally:
        engine.close()
    return 0
