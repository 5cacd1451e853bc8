"""Settings of a search server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Limits of a server.

    Attributes:
        token: bearer token that requests must have; None for no token. /health needs no token.
        no_auth: whether clients without a token may set the noise and use addresses that other
            machines reach.
        max_body: maximum size of a body in bytes.
        max_documents: maximum number of documents in one answer: queries times `topk`.
        max_waiting: maximum number of queries that wait for the engine, of all clients.
        queries_per_second: rate limit over all clients; None for no limit. An HTTP request counts
            as its number of queries, and may have at most those of one second.
        timeout_s: maximum time to receive a body, to find its pages, and to send the answer; also
            of one engine call.
        max_batch: maximum number of searches in one engine call.
        calls_at_once: maximum number of concurrent calls of a thread-safe engine.
        shutdown_s: time that open requests have to complete when the server stops.
    """

    token: str | None = None
    no_auth: bool = False
    max_body: int = 16 * 2**20
    max_documents: int = 100_000
    max_waiting: int = 65_536
    queries_per_second: float | None = None
    timeout_s: float = 60.0
    max_batch: int = 256
    calls_at_once: int = 4
    shutdown_s: float = 10.0
