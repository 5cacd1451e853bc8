"""Several engines behind one: each request goes to one of them, drawn from the request's seed.

Weights are fixed, or follow a schedule, such as from a simulator to a real engine.

The draw does not depend on the batch, so a request meets the same engine wherever it is asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from zs_env.noise import NoiseSchedule
from zs_env.search import engine as optional
from zs_env.search.types import SearchEngine, SearchError, SearchPage, SearchRequest
from zs_env.text.hashing import stable_hash, uniform


class MixtureEngine:
    """Sends each request to one engine, at random.

    Args:
        engines: at least one.
        weights: one per engine, not negative, not all 0; equal where None.
        schedule: in place of weights, of two engines: its probability at a training step is the
            share of the second. It stands at step 0 until an environment is reset with the option
            `training_step`, or a trainer says so with `at_step`.

    Raises:
        ValueError: if engines and weights do not fit.
    """

    name = "mixture"

    def __init__(
        self,
        engines: Sequence[SearchEngine],
        weights: Sequence[float] | None = None,
        *,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        self._schedule = schedule
        if schedule is not None:
            if weights is not None or len(engines) != 2:
                raise ValueError(
                    f"a schedule leads from one engine to another, without weights; got "
                    f"{len(engines)} engines and the weights {weights}"
                )
            share = schedule.probability(0)
            weights = [1.0 - share, share]
        weights = [1.0] * len(engines) if weights is None else list(weights)
        if not engines or len(weights) != len(engines):
            raise ValueError(
                f"a mixture needs one weight for each of its engines (at least one), got "
                f"{len(engines)} engines and {len(weights)} weights"
            )
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights are finite, not negative and not all 0, got {weights}")
        self._engines = list(engines)
        self._level = max(map(_level, engines))
        self._bounds = _bounds(weights)

    @property
    def scheduled(self) -> bool:
        """Whether pages depend on the training step."""
        return self._schedule is not None or any(map(optional.is_scheduled, self._engines))

    def at_step(self, step: int) -> None:
        """Take the weights of a training step, counted from 0, and tell the engines."""
        for engine in self._engines:
            optional.at_step(engine, step)
        if self._schedule is not None:
            share = self._schedule.probability(step)
            self._bounds = _bounds([1.0 - share, share])

    @property
    def local(self) -> bool:
        """Whether all of the engines only compute."""
        return all(optional.is_local(engine) for engine in self._engines)

    @property
    def fingerprint(self) -> str:
        """Made of the engines' fingerprints and the weights."""
        return f"mixture-1:{self._bounds}:{[*map(optional.fingerprint_of, self._engines)]}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request, with at most one call of each engine.

        Raises:
            SearchError: if an engine raises it or gives back a wrong number of pages.
        """
        shares: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            shares.setdefault(self._draw(request.seed), []).append(place)
        pages: dict[int, SearchPage | SearchError] = {}
        for number, places in sorted(shares.items()):
            found = self._engines[number].search([requests[place] for place in places])
            if len(found) != len(places):
                raise SearchError(
                    f"engine {number} of the mixture gave {len(found)} pages for {len(places)} "
                    "requests; an engine gives one page for each"
                )
            pages.update(zip(places, found, strict=True))
        return [pages[place] for place in range(len(requests))]

    def close(self) -> None:
        """Close the engines that can be closed."""
        for engine in self._engines:
            optional.close(engine)

    def _draw(self, seed: int) -> int:
        # A mixture in a mixture draws from other luck than the one around it.
        chance = uniform(stable_hash(f"mixture{self._level or ''}\0{seed}"))
        # The last bound may round to just below 1.
        return min(bisect_right(self._bounds, chance), len(self._engines) - 1)


def _bounds(weights: Sequence[float]) -> list[float]:
    return [bound / sum(weights) for bound in accumulate(weights)]


def _level(engine: object) -> int:
    """How many mixtures deep an engine is, whatever stands between them."""
    if isinstance(engine, MixtureEngine):
        return engine._level + 1
    inner = getattr(engine, "engine", None)
    return 0 if inner is None else _level(inner)
