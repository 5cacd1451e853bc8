"""The next step's episodes, played in a thread while this step's update is made.

What the update changes, the thread never reads: its generator has weights of its own, and every
draw comes from an episode's seed, none from a global random generator. So what is played depends
on neither thread's pace.
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
from agents.llm.rollout.serialization import group_from_json, group_to_json
from agents.llm.rollout.types import Group
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.self_search import writes_itself
from agents.specs import spec_from_text


def check_one_step_off(config: TrainConfig, distributed: DistributedContext) -> None:
    """Refuse a run whose episodes would be written by weights in the middle of an update.

    Raises:
        ValueError: if the generator, or the writer of pages, reads the model in training.
    """
    # On several ranks the policy that plays is a whole copy of the one that is trained.
    if not config.one_step_off or distributed.world_size > 1:
        return
    kind = spec_from_text(config.generator or "transformers", role="generator")["kind"]
    if kind == "transformers" and config.rollout_dtype is None:
        raise ValueError(
            "one_step_off plays episodes while the policy is updated, but the generator "
            "'transformers' reads the weights in training; give it a copy with "
            f"rollout_dtype={config.dtype!r}, or take a generator with weights of its own, such as "
            "'vllm-server'"
        )
    if config.engine and writes_itself(spec_from_text(config.engine, role="engine")):
        raise ValueError(
            "one_step_off plays episodes while the policy is updated, but in --engine the policy "
            "in training writes the pages; leave one_step_off out, or take another writer"
        )


class RolloutPrefetcher:
    """Plays one step's episodes in a thread, and keeps them until the step after them.

    Args:
        distributed: of the run, each with an object like this for its share of the episodes.
        generator: writes the turns; nobody else uses it while it does.
        stop: once SIGTERM has come, nothing more is played.
        kept: what `to_json` of another process gave; None for nothing.
    """

    def __init__(
        self,
        distributed: DistributedContext,
        generator: Generator,
        stop: StopSignal,
        kept: Mapping[str, Any] | None = None,
    ) -> None:
        self._distributed = distributed
        self._unwanted = Event()
        self._generator = _WhileWanted(
            generator, lambda: not (self._unwanted.is_set() or stop.requested)
        )
        self._step: int | None = None
        self._played: Future[list[Group]] = Future()
        if kept is not None:
            groups = map(group_from_json, json.loads(kept["groups"]))
            self._step = kept["step"]
            self._played.set_result(list(groups) if distributed.is_main else [])

    @contextmanager
    def playing(self, step: int, play: Callable[[Generator], list[Group]]) -> Iterator[None]:
        """Play a step's episodes while the block runs; it ends when they have ended too.

        SIGTERM and an error in the block make them end before their time, after the engine's
        answer that they wait for. What goes wrong with them is raised by `share`.

        Args:
            step: whose episodes they are.
            play: plays this rank's share with the generator that it is given.
        """
        self.forget()
        played: Future[list[Group]] = Future()
        # Threads of CPU operations and the current GPU are each thread's own.
        threads = torch.get_num_threads()
        gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None

        def run() -> None:
            torch.set_num_threads(threads)
            if gpu is not None:
                torch.cuda.set_device(gpu)
            try:
                played.set_result(play(self._generator))
            except BaseException as error:  # it belongs to whoever wants the episodes
                played.set_exception(error)

        self._unwanted.clear()
        thread = Thread(target=run, name=f"episodes of step {step + 1}", daemon=True)
        thread.start()
        try:
            yield
            thread.join()
        finally:
            self._unwanted.set()
            thread.join()
        self._step, self._played = step, played

    def share(self, step: int) -> Callable[[], list[Group]] | None:
        """What gives this rank's share of a step's episodes, or raises what went wrong with them.

        Returns:
            None where they have not been played.
        """
        return self._played.result if step == self._step else None

    def forget(self) -> None:
        """Drop what has been played; it is played anew when its step comes."""
        self._step, self._played = None, Future()

    def to_json(self, step: int) -> dict[str, Any] | None:
        """A step's episodes for a checkpoint; all ranks ask together, and the first is told.

        Returns:
            None where they have not all been played.
        """
        whole = step == self._step and self._played.exception() is None
        shares = self._distributed.all_gather(
            self._played.result() if whole else None, "gather the episodes played ahead"
        )
        groups: list[Any] = []
        for share in shares:
            if share is None or not self._distributed.is_main:
                return None
            groups += map(group_to_json, share)
        # As one text: a checkpoint copies and checks what it holds value by value.
        return {"step": step, "groups": json.dumps(groups)}


class _WhileWanted:
    """A generator that raises `Stopped` once its turns are no longer wanted."""

    def __init__(self, generator: Generator, wanted: Callable[[], bool]) -> None:
        self.max_context = generator.max_context
        self.submit, self.release = generator.submit, generator.release
        self.load_weights, self.close = generator.load_weights, generator.close
        self._generator, self._wanted = generator, wanted

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        ended = self._generator.poll(lambda: should_yield() or not self._wanted())
        if not self._wanted():
            raise Stopped
        return ended
