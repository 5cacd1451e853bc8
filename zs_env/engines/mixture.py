"""Several engines as one: the seed of a request decides which engine answers it.

Weights are fixed, or follow a schedule, for example from a simulator to a real engine. The draw
does not depend on the batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from zs_env.noise import Schedule
from zs_env.search.engine import Answer, EngineWrapper, SearchEngine, search_checked
from zs_env.search.types import SearchRequest
from zs_env.text.hashing import stable_hash, uniform


class MixtureEngine(EngineWrapper):
    """Sends each request to one engine, at random, and an open to the engine of its search.

    With a schedule it cannot open documents, because the engine of a search may change.

    Args:
        engines: at least one.
        weights: one per engine, not negative, not all 0; None for equal weights.
        schedule: replaces the weights of two engines: its value at the training step is the share
            of the second engine. The step is 0 until `set_training_step` is called, for example
            by `reset(options={"training_step": ...})`.

    Raises:
        ValueError: if engines and weights do not fit.
    """

    name = "mixture"
    thread_safe = True

    def __init__(
        self,
        engines: Sequence[Any],
        weights: Sequence[float] | None = None,
        *,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(*engines)
        self.query_only = False  # the seed decides as well
        self.step_dependent = self.step_dependent or schedule is not None
        self.can_open = self.can_open and schedule is None
        self._schedule = schedule
        if schedule is not None:
            if weights is not None or len(engines) != 2:
                raise ValueError(
                    f"a schedule moves from one engine to another, without weights; got "
                    f"{len(engines)} engines and the weights {weights}"
                )
            share = schedule.value(0)
            weights = [1.0 - share, share]
        weights = [1.0] * len(engines) if weights is None else list(weights)
        if not engines or len(weights) != len(engines):
            raise ValueError(
                f"a mixture needs one weight for each of its engines (at least one), got "
                f"{len(engines)} engines and {len(weights)} weights"
            )
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights are finite, not negative and not all 0, got {weights}")
        self._depth = max(map(_num_nested_mixtures, self.engines))
        self._bounds = _bounds(weights)

    @property
    def fingerprint(self) -> str | None:
        """Made of the engines' fingerprints and the weights."""
        inner = self.inner_fingerprints()
        return None if inner is None else f"mixture-1:{self._bounds}:{inner}"

    def set_training_step(self, step: int) -> None:
        """Set the weights of a training step, counted from 0, also in the inner engines."""
        super().set_training_step(step)
        if self._schedule is not None:
            share = self._schedule.value(step)
            self._bounds = _bounds([1.0 - share, share])

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with at most one call of each engine."""
        places_of: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            places_of.setdefault(self._draw(request.seed), []).append(place)
        answers: dict[int, Answer] = {}
        for number, places in sorted(places_of.items()):
            found = search_checked(self.engines[number], [requests[place] for place in places])
            answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(requests))]

    def _draw(self, seed: int) -> int:
        # The depth makes the draw of a mixture independent of the mixtures around it.
        draw = uniform(stable_hash(f"mixture{self._depth or ''}\0{seed}"))
        # The last bound may round to just below 1.
        return min(bisect_right(self._bounds, draw), len(self.engines) - 1)


def _bounds(weights: Sequence[float]) -> list[float]:
    return [bound / sum(weights) for bound in accumulate(weights)]


def _num_nested_mixtures(engine: SearchEngine) -> int:
    """Length of the longest chain of mixtures in an engine, itself included."""
    if not isinstance(engine, EngineWrapper):
        return 0
    inner = max(map(_num_nested_mixtures, engine.engines), default=0)
    return inner + isinstance(engine, MixtureEngine)
