"""The processes of a run: which of them this one is, and what they tell each other.

`torchrun` starts them. For one process alone everything here is nothing: no process group is
opened, nothing is copied, and the run gives the bits that it gives without.
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
    """Another process of the run died or hangs; the message says what was waited for."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among those of its run.

    Every method but `share` is for all ranks together: each calls it at the same place of the
    program, or the others wait for it until the deadline.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        local_rank: of this process among those on its machine; it takes the GPU of this number.
        deadline_s: longest that one waits for another.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    deadline_s: float = 1800.0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks to people."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of some items: consecutive, as long as the others' or one off."""
        begin, end = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return items[begin:end]

    def gather(self, value: T, what: str) -> list[T]:
        """Every rank's value, in their order.

        Args:
            value: anything that can be pickled.
            what: that the ranks are doing, as the error shall tell it.

        Raises:
            RankLostError: if a rank does not come here before the deadline.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self.waiting_for(what):
            dist.all_gather_object(values, value)
        return values

    def sum(self, values: Tensor, what: str) -> Tensor:
        """The sum over all ranks, the same bits on each; raises as `gather` does."""
        if self.size > 1:
            values = values.clone()
            with self.waiting_for(what):
                dist.all_reduce(values)
        return values

    def together(self, work: Callable[[], Sequence[T]], what: str) -> list[T]:
        """Let each rank do its own part of some work, and put the parts together in order.

        What one rank raises, all raise: they stay at the same place of the program.

        Raises:
            RankLostError: as `gather`.
        """
        if self.size == 1:
            return list(work())
        outcome: list[T] | BaseException
        mine = None
        try:
            outcome = list(work())
        except (Exception, Stopped) as error:
            mine, outcome = error, _portable(error)
        outcomes = self.gather(outcome, what)
        errors = [other for other in outcomes if isinstance(other, BaseException)]
        if errors:
            # A failure says more than that somebody was asked to stop.
            raise min(errors, key=lambda error: isinstance(error, Stopped)) from mine
        return [item for part in outcomes if isinstance(part, list) for item in part]

    def run_on_main(self, work: Callable[[], T], what: str) -> T:
        """What the first rank's work gives or raises, on all; it begins when all have come here."""
        self.gather(None, what)
        return self.together(lambda: [work()] if self.first else [], what)[0]

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Say what was being done where the ranks lose each other inside.

        Raises:
            RankLostError: in place of the network's own error.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, RankLostError) or not _of_network(error):
                raise
            raise RankLostError(
                f"rank {self.rank} of {self.size} lost another rank while they were to {what} "
                f"(deadline {self.deadline_s:g} s): {_cause(error)}; see what that one said last, "
                "then go on with --resume, on any number of processes"
            ) from error


SINGLE_PROCESS = DistributedContext()


@contextmanager
def open_ranks(
    environment: Mapping[str, str], *, deadline_s: float
) -> Iterator[DistributedContext]:
    """The ranks of this process's run, connected for the time of the context.

    Args:
        environment: of the process, with the variables that torchrun sets; without them it is
            alone.
        deadline_s: longest that one rank waits for another.

    Raises:
        RankLostError: if the others do not come up before the deadline.
    """
    ranks = DistributedContext(
        rank=int(environment.get("RANK", 0)),
        size=int(environment.get("WORLD_SIZE", 1)),
        local_rank=int(environment.get("LOCAL_RANK", 0)),
        deadline_s=deadline_s,
    )
    if ranks.size > 1:
        # Objects and metrics go over the CPU, weights over the device that they are on.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with ranks.waiting_for("find each other"):
            dist.init_process_group(backend, timeout=timedelta(seconds=deadline_s))
    yield ranks
    # Not after an error: a group that has lost a member may wait for it here as well.
    if ranks.size > 1:
        dist.destroy_process_group()


def _portable(error: BaseException) -> BaseException:
    """The error, or where it cannot be sent its name and text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _cause(error: RuntimeError) -> str:
    """The first sentence of what the network says, without the place in its source."""
    return str(error).splitlines()[0].split("] ", 1)[-1].split(". ")[0]


def _of_network(error: RuntimeError) -> bool:
    """Whether the ranks' connection raised it: gloo's errors have no class of their own."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
