"""How good a policy is: greedy episodes on held-out questions, in every setting of a run.

The settings are noise probabilities of the simulated engine, and the real engine, which training
never meets. Episodes have the seeds that `zerosearch evaluate` gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gymnasium.vector import VectorEnv

from agents.baselines.follow_the_hops import FollowTheHops
from agents.env_pool import EnvPool, episode_seed
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.episodes import play_episodes
from agents.evaluation.summary import Report
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.generators.base import Generator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import (
    asks_about_world,
    held_out_environment,
    num_questions,
    real_engine_environment,
    search_costs,
)
from zs_env.search.types import SearchCost
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

Row = dict[str, Any]
REAL_ENGINE = "real engine"
# A forward pass of one token costs as much for one episode as for many; a run's own rollouts may
# be few.
_EPISODES_AT_ONCE = 64


@dataclass(frozen=True)
class Setting:
    """One column of an examination.

    Attributes:
        name: as shown.
        environment: held-out questions and who answers searches.
        noise: chance that a search returns noise; the real engine does not look at it.
    """

    name: str
    environment: VectorEnv
    noise: float


def noise_setting(noise: float) -> str:
    """Name of the setting with the simulated engine at a noise probability."""
    return f"noise {noise:g}"


class Evaluator:
    """The held-out environments of a run, kept open.

    Args:
        config: of the run; noise 0 and `noise_end` are always among the settings.
        policy: that writes pages where the run's engine says so.
        distributed: that episodes are split over.
    """

    def __init__(
        self, config: TrainConfig, policy: Policy, distributed: DistributedContext = SINGLE_PROCESS
    ) -> None:
        self._config = config
        self._distributed = distributed
        wanted = min(config.final_episodes, _EPISODES_AT_ONCE)
        num_envs = max(config.questions_per_step * config.group_size, wanted)
        num_envs = -(-num_envs // distributed.world_size)
        held_out = held_out_environment(config, num_envs, policy)
        real = real_engine_environment(config, num_envs)
        self.settings = [
            Setting(noise_setting(noise), held_out, noise)
            for noise in sorted({0.0, config.noise_end, *config.eval_noise})
        ]
        if real is not None:
            self.settings.append(Setting(REAL_ENGINE, real, 0.0))

    def play(
        self, policy: Policy, generator: Generator, *, episodes: int
    ) -> list[list[Transcript]]:
        """Play this rank's share of the first `episodes` held-out questions.

        Returns:
            The transcripts of each setting.
        """
        return [list(self._play(setting, policy, generator, episodes)) for setting in self.settings]

    def _play(
        self, setting: Setting, policy: Policy, generator: Generator, episodes: int
    ) -> Iterator[Transcript]:
        questions = range(min(episodes, num_questions(setting.environment)))
        mine = self._distributed.shard(questions)
        for start in range(0, len(mine), setting.environment.num_envs):
            indices = mine[start : start + setting.environment.num_envs]
            groups = collect_rollouts(
                setting.environment,
                policy,
                generator,
                question_indices=indices,
                seeds=[episode_seed(self._config.seed, index) for index in indices],
                group_size=1,
                sampling=Sampling(temperature=0.0, max_new_tokens=self._config.max_new_tokens),
                noise_probability=setting.noise,
            )
            generator.close()
            yield from (group.rollouts[0].transcript for group in groups)

    def judge(
        self, played: Sequence[Sequence[Sequence[Transcript]]]
    ) -> tuple[list[Row], list[Transcript]]:
        """Put together what `play` gave on each rank.

        Returns:
            One row per setting, and the transcripts of the last one.
        """
        whole = [list(chain.from_iterable(parts)) for parts in zip(*played, strict=True)]
        rows = [
            _row(setting.name, transcripts)
            for setting, transcripts in zip(self.settings, whole, strict=True)
        ]
        return rows, whole[-1]

    def ceiling(self, *, episodes: int) -> dict[str, float]:
        """F1 by setting of the agent that follows every hop; {} on questions it cannot read.

        It meets the same questions with the same seeds.
        """
        scores: dict[str, float] = {}
        if not asks_about_world(self._config):
            return scores
        for setting in self.settings:
            vector = setting.environment.unwrapped
            assert isinstance(vector, ZeroSearchVectorEnv)
            pool = EnvPool(vector, options={"noise_probability": setting.noise})
            indices = range(min(episodes, vector.num_questions))
            agent = FollowTheHops(self._config.max_turns)
            played = play_episodes(agent, pool, indices, seed=self._config.seed)
            scores[setting.name] = sum(result.f1 for result, _ in played) / len(indices)
        return scores

    def costs(self) -> SearchCost:
        """What the searches took that the real engine did not answer."""
        return search_costs(self.settings[0].environment)

    def close(self) -> None:
        """Close the environments."""
        for environment in {id(s.environment): s.environment for s in self.settings}.values():
            environment.close()


def _row(name: str, transcripts: Sequence[Transcript]) -> Row:
    """Means over the episodes that no failure ended."""
    results = [
        EpisodeResult.from_transcript(index, transcript)
        for index, transcript in enumerate(transcripts)
    ]
    sound = [result for result in results if result.failure is None]
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
        "answered": report.reasons.get("answer", 0) / max(len(sound), 1),
        "failures": report.num_failures,
        "episodes": report.num_episodes,
        "structures": {
            structure: {
                "f1": interval.mean,
                "episodes": sum(result.structure == structure for result in sound),
            }
            for structure, interval in report.f1_by_structure.items()
        },
    }


def _number(mean: float | None) -> float:
    return float("nan") if mean is None else mean
