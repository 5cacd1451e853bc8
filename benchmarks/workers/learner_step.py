"""Whole steps of ours: rollout, log-probabilities, update; prints JSON, as the peer's script does.

python -m benchmarks.workers.learner_step JOB.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.learner.allocator import keep_freed_memory
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import load_policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Group
from benchmarks.peers.process_cost import Laps, peak_bytes
from benchmarks.peers.search_episodes import NOISE, make_environment


def main() -> None:
    """Take the job's steps as a training run does."""
    keep_freed_memory()
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    policy = load_policy(job["model"])
    env = make_environment(job, policy.prompt)
    generator = TransformersGenerator(policy)
    learner = Learner(
        policy.model,
        algorithm=AlgorithmConfig(**job["algorithm"]),
        optimizer=OptimizerConfig(**job["optimizer"]),
        total_updates=job["steps"],
    )
    laps, sampled, rewards = Laps(), [], []
    for step in range(job["steps"]):
        questions = range(step * job["questions"], (step + 1) * job["questions"])
        laps.begin()
        groups = collect_rollouts(
            env,
            policy,
            generator,
            question_indices=questions,
            seeds=questions,
            group_size=job["group_size"],
            sampling=Sampling(max_new_tokens=job["max_new_tokens"]),
            noise_probability=NOISE,
            share_group_seed=True,
        )
        learner.update(groups)
        generator.load_weights()
        laps.end()
        sampled.append(_num_sampled(groups))
        all_rewards = [rollout.reward for group in groups for rollout in group.rollouts]
        rewards.append(sum(all_rewards) / len(all_rewards))
    print(
        json.dumps(
            {
                "cpu_s": laps.cpu_s,
                "wall_s": laps.wall_s,
                "peak_bytes": peak_bytes(),
                "sampled": sampled,
                "rewards": rewards,
            }
        )
    )


def _num_sampled(groups: Sequence[Group]) -> int:
    return sum(sum(rollout.action_mask) for group in groups for rollout in group.rollouts)


if __name__ == "__main__":
    main()
