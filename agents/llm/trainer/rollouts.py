"""A step's rollouts: which questions are asked, under what noise, and when they are played.

They are a pure function of weights, settings and step, also if they are prefetched: then
the weights are those from before the last update.
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
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import num_questions
from agents.llm.trainer.run import Run


def roll_out(run: Run) -> tuple[list[Group], int]:
    """Play the step's questions, and others for groups that teach nothing, `max_refills` times.

    Prefetched rollouts are used as they are; refills use the newest weights.

    Returns:
        All groups played, and the cursor after their questions.
    """
    config, cursor = run.config, run.state.cursor
    played: list[Group] = []
    for refill in range(config.max_refills + 1):
        missing = config.questions_per_step - sum(group.has_signal for group in played)
        if not missing:
            break
        indices, cursor = _next_questions(run, run.state.step, cursor, missing)
        played += _play(run, indices, refill)
    return played, cursor


def drop_zero_variance(config: TrainConfig, played: list[Group]) -> list[Group]:
    """Leave out groups that others were played for; all stay where none has_signal anything."""
    return [group for group in played if group.has_signal or not config.max_refills] or played


def prefetch_next_step(run: Run, cursor: int) -> AbstractContextManager[None]:
    """Collect the rollouts of the next step while the block runs, if the run is one step off.

    Args:
        run: in the middle of a step; its generator has the weights from before the update.
        cursor: after the step's questions.
    """
    config, step = run.config, run.state.step + 1
    if not config.one_step_off or step == config.steps:
        return nullcontext()
    indices, _ = _next_questions(run, step, cursor, config.questions_per_step)
    return run.prefetcher.prefetch(
        step, lambda generator: _play_share(run, generator, step, indices, 0)
    )


def _next_questions(run: Run, step: int, cursor: int, count: int) -> tuple[list[int], int]:
    """The next questions to be asked, and the cursor after them."""
    config = run.config
    if not config.curriculum:
        total = num_questions(run.environment)
        indices = question_indices(cursor, count, num_questions=total, seed=config.seed)
        return indices, cursor + count
    structures = structures_at(
        step, curriculum=config.curriculum, steps=config.curriculum_steps or config.steps // 2
    )
    return matching_questions(
        cursor, count, questions=run.questions, structures=structures, seed=config.seed
    )


def _play(run: Run, indices: Sequence[int], refill: int) -> list[Group]:
    """Play questions of the step at hand, each rank its share of them; all get all groups."""
    config, step = run.config, run.state.step

    def play_share() -> list[Group]:
        return _play_share(run, run.generator, step, indices, refill)

    prefetched = None if refill else run.prefetcher.get(step)
    groups = run.split(prefetched or play_share, f"play the episodes of step {step + 1}")
    if config.control == "shuffled_rewards":
        *_, seed = step_seeds(config.seed, step, len(indices) + 1, refill=refill)
        return shuffle_rewards(groups, seed=seed)
    return groups


def _play_share(
    run: Run, generator: Generator, step: int, indices: Sequence[int], refill: int
) -> list[Group]:
    """Play this rank's share of questions under the step's noise."""
    config = run.config
    *seeds, _ = step_seeds(config.seed, step, len(indices) + 1, refill=refill)
    groups = collect_rollouts(
        run.environment,
        run.policy,
        generator,
        question_indices=run.distributed.shard(indices),
        seeds=run.distributed.shard(seeds),
        group_size=config.group_size,
        sampling=Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens),
        noise_probability=config.noise().probability(step),
        training_step=step,
        share_group_seed=config.share_group_seed,
        lock_step=config.deterministic,
    )
    # A cache that has grown in earlier steps adds up in another order: a resumed run has none.
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
