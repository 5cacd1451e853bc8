"""The rollouts of a step: its questions, its noise, and when they are collected.

They are a pure function of weights, settings and step. Prefetched rollouts are sampled from the
weights before the last update.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from agents.llm.generators.base import Generator
from agents.llm.generators.sampling import Sampling
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.question_order import (
    matching_questions,
    question_indices,
    step_seeds,
    structures_at,
)
from agents.llm.rollout.types import Group, Rollout
from agents.llm.trainer.run import Run


def roll_out(run: Run) -> tuple[list[Group], int]:
    """Collect the groups of a step, and up to `max_refills` times others for those without signal.

    Prefetched groups are used as they are; refills use the newest weights.

    Returns:
        All groups, and the cursor after their questions.
    """
    config, cursor = run.config.rollouts, run.state.cursor
    groups: list[Group] = []
    for refill in range(config.max_refills + 1):
        missing = config.questions_per_step - sum(group.has_signal for group in groups)
        if not missing:
            break
        indices, cursor = _next_questions(run, run.state.step, cursor, missing)
        groups += _collect(run, indices, refill)
    return groups, cursor


def drop_zero_variance(groups: list[Group], *, max_refills: int) -> list[Group]:
    """Drop the groups that were refilled; without refills, or if none has signal, keep all."""
    return [group for group in groups if group.has_signal or not max_refills] or groups


def prefetch_next_step(run: Run, cursor: int) -> AbstractContextManager[None]:
    """Collect the rollouts of the next step while the block runs, if the run is one step off.

    Args:
        run: in the middle of a step; its generator has the weights before the update.
        cursor: after the step's questions.
    """
    config, step = run.config.rollouts, run.state.step + 1
    if not config.one_step_off or step == run.config.run.steps:
        return nullcontext()
    indices, _ = _next_questions(run, step, cursor, config.questions_per_step)
    return run.prefetcher.prefetch(
        step, lambda generator: _collect_share(run, generator, step, indices, 0)
    )


def _next_questions(run: Run, step: int, cursor: int, count: int) -> tuple[list[int], int]:
    """Indices of the next questions, and the cursor after them."""
    config, seed = run.config.rollouts, run.config.run.seed
    if not config.curriculum:
        total = run.environment.num_questions
        indices = question_indices(cursor, count, num_questions=total, seed=seed)
        return indices, cursor + count
    structures = structures_at(
        step,
        curriculum=config.curriculum,
        steps=config.curriculum_steps or run.config.run.steps // 2,
    )
    return matching_questions(
        cursor, count, questions=run.environment.questions, structures=structures, seed=seed
    )


def _collect(run: Run, indices: Sequence[int], refill: int) -> list[Group]:
    """Collect groups of the current step, split over the ranks; all ranks get all groups."""
    step = run.state.step

    def collect_share() -> list[Group]:
        return _collect_share(run, run.generator, step, indices, refill)

    prefetched = None if refill else run.prefetcher.get(step)
    groups = run.split(prefetched or collect_share, f"play the episodes of step {step + 1}")
    if run.config.rollouts.control == "shuffled_rewards":
        *_, seed = step_seeds(run.config.run.seed, step, len(indices) + 1, refill=refill)
        return shuffle_rewards(groups, seed=seed)
    return groups


def _collect_share(
    run: Run, generator: Generator, step: int, indices: Sequence[int], refill: int
) -> list[Group]:
    """Collect this rank's share of the groups under the step's noise."""
    config = run.config
    *seeds, _ = step_seeds(config.run.seed, step, len(indices) + 1, refill=refill)
    groups = collect_rollouts(
        run.environment,
        run.policy,
        generator,
        question_indices=run.distributed.shard(indices),
        seeds=run.distributed.shard(seeds),
        group_size=config.rollouts.group_size,
        sampling=Sampling(
            temperature=config.generation.temperature,
            max_new_tokens=config.generation.max_new_tokens,
        ),
        noise_probability=config.noise.schedule(config.run.steps).probability(step),
        training_step=step,
        share_group_seed=config.rollouts.share_group_seed,
        lock_step=config.run.deterministic,
    )
    # A KV cache that grew in earlier steps would change the order of sums: a resumed run has none.
    generator.close()
    return groups


def shuffle_rewards(groups: Sequence[Group], *, seed: int) -> list[Group]:
    """Permute the rewards over all episodes that did not fail, across groups.

    A control: episodes and the distribution of rewards stay the same, but rewards no longer depend
    on actions. A policy that improves nevertheless does so for another reason than reward.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts if not rollout.failed]
    order = np.random.default_rng(seed).permutation(len(rollouts))
    reward_terms = iter([rollouts[place].transcript.reward_terms for place in order])

    def reassign(rollout: Rollout) -> Rollout:
        if rollout.failed:
            return rollout
        transcript = replace(rollout.transcript, reward_terms=next(reward_terms))
        return replace(rollout, transcript=transcript)

    return [Group(rollouts=tuple(map(reassign, group.rollouts))) for group in groups]
