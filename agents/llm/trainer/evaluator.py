"""Evaluates a policy: greedy episodes on held-out questions, in every setting of a run.

The settings are the noise probabilities of the simulated engine, and the real engine, which is
never used in training. Episodes have the same seeds as in `zerosearch evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any

from agents.baselines.world_oracle import FollowTheHops
from agents.env_pool import EnvPool, episode_seed
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluate import play_episodes
from agents.evaluation.summary import Report
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.generators.base import Generator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import (
    held_out_environment,
    is_about_world,
    real_engine_environment,
)
from zs_env.search.types import SearchCost
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

Row = dict[str, Any]
REAL_ENGINE = "real engine"
# One forward pass takes as long for one episode as for many, so evaluations are wide even if the
# rollouts of the run are narrow.
_MIN_ENVS = 64


@dataclass(frozen=True)
class Setting:
    """A name, an environment of held-out questions, and the noise probability of an evaluation."""

    name: str
    environment: ZeroSearchVectorEnv
    noise: float


def noise_setting(noise: float) -> str:
    """Name of the setting with the simulated engine at a noise probability."""
    return f"noise {noise:g}"


class Evaluator:
    """The held-out environments of a run, kept open between evaluations.

    Args:
        config: of the run.
        policy: generates pages if the engine of the run is the policy itself.
        distributed: ranks that share the episodes.
    """

    def __init__(
        self, config: TrainConfig, policy: Policy, distributed: DistributedContext = SINGLE_PROCESS
    ) -> None:
        self._config = config
        self._distributed = distributed
        per_step = config.rollouts.questions_per_step * config.rollouts.group_size
        num_envs = max(per_step, min(config.evaluation.final_episodes, _MIN_ENVS))
        num_envs = -(-num_envs // distributed.world_size)
        held_out = held_out_environment(config, num_envs, policy)
        real = real_engine_environment(config, num_envs)
        self.settings = [
            Setting(noise_setting(noise), held_out, noise)
            for noise in sorted({0.0, config.noise.noise_end, *config.evaluation.eval_noise})
        ]
        if real is not None:
            self.settings.append(Setting(REAL_ENGINE, real, 0.0))

    def evaluate(
        self, policy: Policy, generator: Generator, *, episodes: int
    ) -> list[list[Transcript]]:
        """Play this rank's share of the first `episodes` held-out questions.

        Returns:
            The transcripts of each setting.
        """
        max_new_tokens = self._config.generation.max_new_tokens
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        played: list[list[Transcript]] = []
        for setting in self.settings:
            transcripts: list[Transcript] = []
            environment = setting.environment
            mine = self._distributed.shard(range(min(episodes, environment.num_questions)))
            for start in range(0, len(mine), environment.num_envs):
                indices = mine[start : start + environment.num_envs]
                groups = collect_rollouts(
                    environment,
                    policy,
                    generator,
                    question_indices=indices,
                    seeds=[episode_seed(self._config.run.seed, index) for index in indices],
                    group_size=1,
                    sampling=sampling,
                    noise_probability=setting.noise,
                )
                generator.close()
                transcripts += [group.rollouts[0].transcript for group in groups]
            played.append(transcripts)
        return played

    def aggregate(
        self, shares: Sequence[Sequence[Sequence[Transcript]]]
    ) -> tuple[list[Row], list[Transcript], float]:
        """Combine the results of `evaluate` of all ranks.

        Returns:
            One row of means per setting, the transcripts of the last setting, and the score that
            decides which checkpoint is the best: the mean F1 over the settings, on as many
            questions in every evaluation of the run; NaN if all episodes of a setting failed.
        """
        config = self._config.evaluation
        num_scored = min(config.eval_episodes, config.final_episodes)
        whole = [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]
        names = [setting.name for setting in self.settings]
        scored = [[t for t in part[:num_scored] if t.failure is None] for part in whole]
        f1 = [fmean(t.scores()["f1"] for t in part) if part else math.nan for part in scored]
        return list(map(_row, names, whole)), whole[-1], fmean(f1)

    def oracle(self, *, episodes: int) -> dict[str, float]:
        """F1 by setting of an agent that follows every hop; {} if the questions are not a world's.

        It plays the same questions with the same seeds.
        """
        config, scores = self._config, {}
        if not is_about_world(config.environment):
            return scores
        for setting in self.settings:
            pool = EnvPool(setting.environment, options={"noise_probability": setting.noise})
            indices = range(min(episodes, setting.environment.num_questions))
            agent = FollowTheHops(config.environment.max_turns)
            played = play_episodes(agent, pool, indices, seed=config.run.seed)
            scores[setting.name] = sum(result.f1 for result, _ in played) / len(indices)
        return scores

    def costs(self) -> SearchCost:
        """Cost of all searches except those of the real engine."""
        return self.settings[0].environment.costs

    def close(self) -> None:
        """Close the environments."""
        for environment in {setting.environment for setting in self.settings}:
            environment.close()


def _row(name: str, transcripts: Sequence[Transcript]) -> Row:
    """Means over the episodes that did not fail; NaN if all failed."""
    results = list(map(EpisodeResult.from_transcript, range(len(transcripts)), transcripts))
    valid = [result for result in results if result.failure is None]
    report = Report.of(results, setting={})
    f1 = report.metrics["f1"]
    return {
        "setting": name,
        "f1": _number(f1.mean),
        "f1_low": _number(f1.low),
        "f1_high": _number(f1.high),
        **{
            key: _number(report.metrics[key].mean)
            for key in ("exact_match", "cover_match", "searches", "turns", "malformed")
        },
        "answered": report.reasons.get("answer", 0) / max(len(valid), 1),
        "failures": report.num_failures,
        "episodes": report.num_episodes,
        "structures": {
            structure: {
                "f1": interval.mean,
                "episodes": sum(result.structure == structure for result in valid),
            }
            for structure, interval in report.f1_by_structure.items()
        },
    }


def _number(mean: float | None) -> float:
    return float("nan") if mean is None else mean
