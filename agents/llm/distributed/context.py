"""The processes (ranks) of a run and their collective operations.

`torchrun` starts them. All methods are no-ops when `world_size` is 1: no process group is opened
and nothing is copied.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from agents.llm.distributed.stop_signal import Stopped

T = TypeVar("T")


class RankLostError(RuntimeError):
    """Another process of the run died or hangs; the message names the operation."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among the processes of its run.

    Every method except `shard` is collective: all ranks must call it, in the same order. A rank
    that waits for another longer than `deadline_s` fails.

    Attributes:
        rank: index of this process, from 0.
        world_size: number of processes.
        local_rank: index of this process on its machine, and of the GPU that it uses.
        deadline_s: longest wait for another rank, in seconds.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    deadline_s: float = 1800.0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Return this rank's consecutive part of `items`; part lengths differ by at most 1."""
        begin, end = (len(items) * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return items[begin:end]

    def all_gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks, in rank order.

        Args:
            value: anything that can be pickled.
            what: the operation, for the error message ("count the tokens").

        Raises:
            RankLostError: if a rank does not call this before the deadline.
        """
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with self.waiting_for(what):
            dist.all_gather_object(values, value)
        return values

    def all_reduce(self, values: Tensor, what: str) -> Tensor:
        """Return the sum over all ranks, bit-identical on each; raises as `all_gather` does."""
        if self.world_size > 1:
            values = values.clone()
            with self.waiting_for(what):
                dist.all_reduce(values)
        return values

    def gather(self, work: Callable[[], Sequence[T]], what: str) -> list[T]:
        """Run `work` on every rank and return the concatenated results, in rank order.

        An error on one rank is raised on all of them.

        Raises:
            RankLostError: as `all_gather`.
        """
        if self.world_size == 1:
            return list(work())
        outcome: list[T] | BaseException
        mine = None
        try:
            outcome = list(work())
        except (Exception, Stopped) as error:
            mine, outcome = error, _portable(error)
        outcomes = self.all_gather(outcome, what)
        errors = [other for other in outcomes if isinstance(other, BaseException)]
        if errors:
            # Prefer a failure to a request to stop.
            raise min(errors, key=lambda error: isinstance(error, Stopped)) from mine
        return [item for part in outcomes if isinstance(part, list) for item in part]

    def run_on_main(self, work: Callable[[], T], what: str) -> T:
        """Run `work` on rank 0 once all ranks are here; all return its result or its error."""
        self.all_gather(None, what)
        return self.gather(lambda: [work()] if self.is_main else [], what)[0]

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Raise a `RankLostError` that names the operation in place of a network error."""
        try:
            yield
        except RuntimeError as error:
            # gloo's errors have no class of their own.
            of_network = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
            if self.world_size == 1 or isinstance(error, RankLostError) or not of_network:
                raise
            # The first sentence, without the source location.
            cause = str(error).splitlines()[0].split("] ", 1)[-1].split(". ")[0]
            raise RankLostError(
                f"rank {self.rank} of {self.world_size} lost another rank while it tried to {what} "
                f"(deadline {self.deadline_s:g} s): {cause}; read the log of the other rank, then "
                "continue with --resume, on any number of processes"
            ) from error


SINGLE_PROCESS = DistributedContext()


@contextmanager
def init_distributed(
    environment: Mapping[str, str], *, deadline_s: float
) -> Iterator[DistributedContext]:
    """Open the process group of this run; close it at the end of the context.

    A group that is open already is used and stays open.

    Args:
        environment: environment variables; without those of torchrun there is one process.
        deadline_s: longest wait for another rank, in seconds.

    Raises:
        RankLostError: if the other processes do not start before the deadline.
    """
    distributed = DistributedContext(
        rank=int(environment.get("RANK", 0)),
        world_size=int(environment.get("WORLD_SIZE", 1)),
        local_rank=int(environment.get("LOCAL_RANK", 0)),
        deadline_s=deadline_s,
    )
    opens = distributed.world_size > 1 and not dist.is_initialized()
    if opens:
        # gloo carries objects and metrics, NCCL the weights on GPUs.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with distributed.waiting_for("find each other"):
            dist.init_process_group(backend, timeout=timedelta(seconds=deadline_s))
    yield distributed
    # Skipped after an error: a group that lost a rank may hang here.
    if opens:
        dist.destroy_process_group()


def _portable(error: BaseException) -> BaseException:
    """The error itself, or a RuntimeError with its name and text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
