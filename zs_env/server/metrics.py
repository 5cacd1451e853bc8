"""Metrics of a search server in Prometheus' text format, and its rate limit."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ServerMetrics:
    """Prometheus metrics."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "zerosearch"
        self.answers = Counter(
            f"{name}_answers", "Answers to POST /retrieve", ["status"], registry=registry
        )
        self.searches = Counter(f"{name}_searches", "Searches answered", registry=registry)
        self.noisy = Counter(f"{name}_noisy_searches", "Noisy searches", registry=registry)
        self.calls = Counter(f"{name}_engine_calls", "Engine calls", registry=registry)
        self.seconds = Histogram(f"{name}_seconds", "Latency of answers", registry=registry)
        self.noise = Gauge(f"{name}_noise_probability", "Noise probability", registry=registry)
        self.waiting = Gauge(f"{name}_waiting", "Waiting searches", registry=registry)


class RateLimiter:
    """A token bucket that holds the tokens of one second, at least one.

    Args:
        per_second: tokens per second; None for no limit.
    """

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self.size = max(per_second or 0.0, 1.0)
        self._tokens = self.size
        self._updated = time.monotonic()

    def allow(self, count: int) -> bool:
        """Take `count` tokens if there are so many."""
        if self._per_second is None:
            return True
        now = time.monotonic()
        refilled = self._tokens + (now - self._updated) * self._per_second
        self._tokens = min(self.size, refilled)
        self._updated = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True
