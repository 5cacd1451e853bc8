"""The learner on rollouts that are given to it; prints JSON, as the peers' scripts do.

    python -m benchmarks.workers.learner_update JOBS.json

A process of its own, so that its memory is only the learner's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.allocator import keep_freed_memory
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from benchmarks.peers.process_cost import Laps, peak_bytes
from benchmarks.workers.rollout_files import from_json


def main() -> None:
    """Do every job of the file."""
    keep_freed_memory()  # as every training run does
    jobs = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps([_learn(job) for job in jobs]))


def _learn(job: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(**job["algorithm"]),
        optimizer=OptimizerConfig(**job["optimizer"]),
        total_updates=job["steps"],
    )
    groups = from_json(job["groups"])
    laps, losses = Laps(), []
    for _ in range(job["steps"]):
        laps.begin()
        report = learner.update(groups)
        laps.end()
        losses.append(report.metrics["loss"])
        if "gradients" in job:
            # Where they are asked for, the job is one of a single step.
            named = model.named_parameters()
            save_file({name: p.grad for name, p in named}, f"{job['gradients']}-1.safetensors")
    return {
        "losses": losses,
        "cpu_s": laps.cpu_s,
        "wall_s": laps.wall_s,
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    main()
