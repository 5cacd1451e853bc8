"""What `model_scale` measures with: a model, its rollouts, a device, a clock."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.llm.learner.batch import Batch, MicroBatch
from agents.llm.learner.experience import score
from agents.llm.learner.models import LogprobModel
from agents.llm.policy.policy import Policy
from benchmarks.peers.process_cost import peak_bytes
from benchmarks.report import Row
from benchmarks.scale.workload import Episodes, Shape, make_policy, ragged_groups
from benchmarks.workers.rollout_files import from_json

# How far two ways may be apart: losses and log-probabilities in nats, norms by their ratio.
_TOLERANCE = {torch.bfloat16: 0.05, torch.float32: 1e-3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """Updates that were made in one way.

    Attributes:
        norm: of the first one's gradient.
        tokens_per_s: of rollouts.
        peak_bytes: the most memory that was held.
    """

    norm: float
    tokens_per_s: float
    peak_bytes: float


class ParityError(AssertionError):
    """Two ways to the same result differ: their speeds would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is measured.

    Attributes:
        name: of the model, in the table.
        source: its folder or .gguf file, or the shape of one with random weights.
        precision: of rollouts, and of an update's computation; weights in training are float32.
        tokens_per_pass: positions of a forward and backward pass of an update.
        updates: that are measured, after one that is not.
        peak: FLOP/s of the device; None leaves the MFU out.
        trl_python: a Python with TRL; None leaves it out.
        made: updates by their variant, as far as they were made.
    """

    name: str
    source: Path | Shape
    device: str
    precision: torch.dtype
    episodes: Episodes
    tokens_per_pass: int
    updates: int
    peak: float | None
    trl_python: Path | None
    made: dict[str, Made] = field(default_factory=dict)

    @property
    def autocast(self) -> bool:
        """Whether updates compute in another type than their weights have."""
        return self.precision is not torch.float32

    def row(self, case: str, ours: float, peer: float | None, unit: str) -> Row:
        """A row of the table about this model."""
        return Row(case=f"{self.name}: {case}", ours=ours, peer=peer, unit=unit)

    def policy(self, dtype: torch.dtype = torch.float32) -> Policy:
        """The model, always with the same weights."""
        return make_policy(self.source, device=self.device, dtype=dtype)

    def check(self, what: str, ours: float, theirs: float, allowed: float | None = None) -> None:
        """Refuse a difference that is more than rounding."""
        allowed = _TOLERANCE[self.precision] if allowed is None else allowed
        if not abs(ours - theirs) <= allowed:
            raise ParityError(
                f"{self.name}: {what} is {ours:.6g}, expected {theirs:.6g} within {allowed:.2g}"
            )

    @cached_property
    def groups(self) -> list[list[dict[str, Any]]]:
        """Rollouts with the log-probabilities that the model gives them in this precision."""
        policy, device = self.policy(), torch.device(self.device)
        groups = ragged_groups(policy, self.episodes)

        def logprobs(rows: MicroBatch) -> Tensor:
            with self.computing():
                return LogprobModel(policy.model)(rows.to(device))[0]

        scores_A = score(Batch.from_groups(from_json(groups)), logprobs, self.tokens_per_pass)
        given = iter(scores_A.tolist())
        for one in (one for group in groups for one in group):
            one["logprobs"] = [next(given) if acted else 0.0 for acted in one["action_mask"]]
        return groups

    def computing(self) -> torch.autocast:
        """As updates compute."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.autocast)

    def median_seconds(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Of work that was done once before."""
        laps = []
        for _ in range(repeats):
            self._wait()
            started = time.perf_counter()
            work()
            self._wait()
            laps.append(time.perf_counter() - started)
        return statistics.median(laps)

    def forget_peak(self) -> None:
        """Free what is not held any more, and let `peak_bytes` begin anew; a CPU's cannot."""
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> float:
        """The most that tensors held on a GPU; on a CPU what the process ever held."""
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else peak_bytes()

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
