"""`zerosearch serve-search`: serves an engine over HTTP to other frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from agents.noise_kinds import NoiseKindsFlag
from agents.specs import served_models, spec_from_text
from zs_env.config import WORLD, build_engine, build_questions
from zs_env.engines import CachedEngine
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.noise import NoiseSchedule
from zs_env.search.http_client import read_secret


@dataclass(frozen=True, kw_only=True)
class ServeConfig(NoiseKindsFlag):
    """Answer POST /retrieve like Search-R1's retriever, with optional noise.

    If the environment variable ZEROSEARCH_SERVE_TOKEN is set, clients must send its value as the
    bearer token. Without it, the server binds loopback addresses only and refuses PUT /noise.

    Attributes:
        engine: a JSON spec, a kind, or a passage file; the embedded world's engine by default.
        questions: questions that clients may name by "question_id": a JSON spec, a kind, or a data
            file. The embedded world's engine needs none.
        noise: noise probability in [0, 1]; can be changed with PUT /noise.
        noise_end: final noise probability of an exponential schedule over `noise_searches`.
        noise_searches: length of the schedule in searches.
        host: address to bind.
        port: 0 selects a free port.
        no_auth: allow other addresses, and PUT /noise, without a token.
        cache: file that stores all pages; by default they are kept in memory.
        queries_per_second: rate limit over all clients, in queries; no limit by default.
        timeout: seconds until a request must be answered.
    """

    engine: str = '{"kind": "world"}'
    questions: str | None = None
    noise: float = 0.0
    noise_end: float | None = None
    noise_searches: int = 10_000
    host: str = "127.0.0.1"
    port: int = 8000
    no_auth: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    cache: str | None = None
    queries_per_second: float | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        self.noise_settings()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is stopped; returns the exit status."""
    config = tyro.cli(ServeConfig, prog="zerosearch serve-search", args=argv)
    try:
        from zs_env.server.app import SearchServer
        from zs_env.server.run import bind, serve
        from zs_env.server.settings import ServerSettings
    except ImportError as error:
        raise ValueError(
            'serving needs aiohttp, msgpack and prometheus-client; pip install "zerosearch-gym'
            f'[serve]" ({error})'
        ) from error
    settings = ServerSettings(
        token=read_secret(TOKEN_VARIABLE) or None,
        no_auth=config.no_auth,
        queries_per_second=config.queries_per_second,
        timeout_s=config.timeout,
    )
    spec = spec_from_text(config.engine, role="engine")
    # Both before an engine that may take long to build.
    served_models({"kind": "cache", "path": config.cache, "engine": spec})
    sockets = bind(config.host, config.port, settings)
    by_id = None
    questions = build_questions(WORLD)
    if config.questions is not None:
        questions = build_questions(spec_from_text(config.questions, role="questions"))
        by_id = {questions[n].id: questions[n] for n in range(len(questions))}
    engine = CachedEngine(build_engine(spec, questions), config.cache)
    noise = NoiseSchedule(
        config.noise,
        config.noise if config.noise_end is None else config.noise_end,
        total_steps=config.noise_searches,
    )
    server = SearchServer(
        engine, noise=noise, **config.noise_settings(), questions=by_id, settings=settings
    )
    host = f"[{config.host}]" if ":" in config.host else config.host
    port = sockets[0].getsockname()[1]
    try:
        serve(
            server,
            sockets,
            lambda: Console(stderr=True).print(
                f"serving {engine.name} at http://{host}:{port}/retrieve, noise {config.noise:g}"
                + (f" → {noise.end:g}" if config.noise_end is not None else "")
            ),
        )
    finally:
        engine.close()
    return 0
