"""Collects the rollouts of the next step in a thread, while the current update runs.

The thread does not read what the update changes: its generator has its own weights, and all
randomness comes from the seeds of the episodes. So the result does not depend on timing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import torch

from agents.llm.distributed.context import DistributedContext
from agents.llm.distributed.stop_signal import Stopped, StopSignal
from agents.llm.generators.base import Generation, Generator, never
from agents.llm.rollout.types import Group, group_from_json, group_to_json


class RolloutPrefetcher:
    """Collects and keeps this rank's groups of one step.

    Args:
        distributed: of the run; each has a prefetcher for its share of the episodes.
        generator: generates the turns; it is not used elsewhere meanwhile.
        stop: after SIGTERM nothing more is generated.
        state: result of `to_json`, to restore; None for an empty prefetcher.
    """

    def __init__(
        self,
        distributed: DistributedContext,
        generator: Generator,
        stop: StopSignal,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._distributed = distributed
        self._cancelled = Event()
        self._generator = _CancellableGenerator(
            generator, lambda: self._cancelled.is_set() or stop.requested
        )
        self._step: int | None = None
        self._groups: Future[list[Group]] = Future()
        if state is not None:
            groups = map(group_from_json, json.loads(state["groups"]))
            self._step = state["step"]
            self._groups.set_result(list(groups) if distributed.is_main else [])

    @contextmanager
    def prefetch(self, step: int, collect: Callable[[Generator], list[Group]]) -> Iterator[None]:
        """Collect the groups of a step while the block runs; wait for them at its end.

        SIGTERM or an exception in the block cancels the collection after the engine call in
        progress. An exception of the collection is raised by `get`.
        """
        self.clear()
        groups: Future[list[Group]] = Future()
        # The number of CPU threads and the current GPU are settings of each thread.
        threads = torch.get_num_threads()
        gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None

        def run() -> None:
            torch.set_num_threads(threads)
            if gpu is not None:
                torch.cuda.set_device(gpu)
            try:
                groups.set_result(collect(self._generator))
            except BaseException as error:  # raised by get()
                groups.set_exception(error)

        self._cancelled.clear()
        thread = Thread(target=run, name=f"episodes of step {step + 1}", daemon=True)
        thread.start()
        try:
            yield
            thread.join()
        finally:
            self._cancelled.set()
            thread.join()
        self._step, self._groups = step, groups

    def get(self, step: int) -> Callable[[], list[Group]] | None:
        """A function that returns this rank's groups of a step, or raises what stopped them.

        Returns:
            None if the step was not prefetched.
        """
        return self._groups.result if step == self._step else None

    def clear(self) -> None:
        """Drop the groups."""
        self._step, self._groups = None, Future()

    def to_json(self, step: int) -> dict[str, Any] | None:
        """The groups of a step for a checkpoint; all ranks call it, the main rank gets the result.

        Returns:
            None if not all ranks have prefetched the step.
        """
        complete = step == self._step and self._groups.exception() is None
        shares = self._distributed.all_gather(
            self._groups.result() if complete else None, "gather the prefetched episodes"
        )
        groups: list[Any] = []
        for share in shares:
            if share is None or not self._distributed.is_main:
                return None
            groups += map(group_to_json, share)
        # One string: a checkpoint copies and checks every value that it holds.
        return {"step": step, "groups": json.dumps(groups)}


class _CancellableGenerator:
    """A generator whose `poll` raises `Stopped` once it is cancelled."""

    def __init__(self, generator: Generator, cancelled: Callable[[], bool]) -> None:
        self.max_context = generator.max_context
        self.submit, self.release = generator.submit, generator.release
        self.load_weights, self.close = generator.load_weights, generator.close
        self._generator, self._cancelled = generator, cancelled

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        ended = self._generator.poll(lambda: should_yield() or self._cancelled())
        if self._cancelled():
            raise Stopped
        return ended
