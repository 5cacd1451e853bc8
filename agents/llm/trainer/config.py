"""The settings of a training run: one dataclass for each part of the trainer. Imports no torch.

The defaults are the main job: the shipped tiny policy learns to search the embedded world. Every
setting is a flag of `zerosearch train` and a key of its TOML files, under the same flat name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.config import OptimizerConfig
from agents.llm.policy.config import DType, ModelConfig
from agents.llm.trainer.metrics import TrackerName
from agents.noise_kinds import NoiseKindsFlag
from agents.prompt_limits import PromptLimits
from agents.storage.config_file import FlatSettings
from agents.tool_flags import ToolsFlag
from zs_env.noise import NoiseDraw, NoiseSchedule, NoiseShape
from zs_env.text.paths import expand_paths

_ALGORITHM = AlgorithmConfig(minibatches=2)
_OPTIMIZER = OptimizerConfig(learning_rate=3e-4, warmup_steps=2, lr_schedule="linear")
_MODEL = ModelConfig()


def at_least(minimum: int, config: Any, *names: str) -> None:
    """Raise a `ValueError` if one of the named settings is below the minimum."""
    for name in names:
        if getattr(config, name) < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {getattr(config, name)}")


def env_settings(config: Any) -> dict[str, Any]:
    """Arguments of the environment that a checkpoint stores and evaluations of it adopt."""
    rules: dict[str, Any] = {"max_turns": config.max_turns, "num_documents": config.num_documents}
    rules |= config.tool_settings()
    rules["limits"] = {"max_document_chars": config.max_document_chars, **config.prompt_limits()}
    return rules if config.prompt is None else {"prompt": config.prompt, **rules}


@dataclass(frozen=True, kw_only=True)
class EnvironmentConfig(PromptLimits, ToolsFlag):
    """Questions, engines and rules of the episodes, in training and on held-out questions.

    Attributes:
        env: environment id, or "module:id" with the module that registers it.
        questions: training questions: a JSON spec, a kind such as "world", or a .jsonl or .parquet
            file; several files are {"kind": "file", "path": [...]}. None for the environment's.
        engine: search engine in training: a JSON spec or a kind such as "paragraphs". None for the
            environment's.
        eval_questions: held-out questions, in the form of --questions. None for the held-out split
            of the training questions.
        eval_engine: search engine on held-out questions. None for the one of --engine.
        real_engine: real search engine that the policy is also evaluated on. None for BM25 over
            the held-out world; for no such engine if the questions are about no world.
        max_turns: most actions per episode.
        num_documents: documents per page.
        max_document_chars: longest document, in characters; the rest is cut.
        engine_timeout_s: longest time of an engine call, in seconds; then its episodes fail. A
            simulator on a CPU may need more.
        prompt: prompt template: a name or a text. None for the policy's, or else the environment's.
        reward: a reward preset, JSON such as {"terms": {"f1": 1}} (docs/rewards.md), or
            "module:name" of a reward function. None for the environment's, which is F1 of the
            answer.
    """

    env: str = "ZeroSearch-v0"
    questions: str | None = None
    engine: str | None = None
    eval_questions: str | None = None
    eval_engine: str | None = None
    real_engine: str | None = None
    max_turns: int = 6
    num_documents: int = 5
    max_document_chars: int = 2048
    engine_timeout_s: float = 60.0
    prompt: str | None = None
    reward: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tool_settings()
        at_least(1, self, "max_turns", "num_documents", "max_document_chars")


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(NoiseKindsFlag):
    """Noise of the simulated engine over the training steps.

    Attributes:
        noise_draw: whether noise is drawn per search, per document, or once per turn of a group.
        noise_start: noise probability at the first step.
        noise_end: noise probability at the last step.
        noise_base: base of the exponential schedule; a larger base rises later.
        noise_shape: shape of the schedule.
        noise_steps: length of the schedule in steps; 0 for the whole run.
    """

    noise_draw: NoiseDraw = "search"
    noise_start: float = 0.2
    noise_end: float = 0.5
    noise_base: float = 4.0
    noise_shape: NoiseShape = "exponential"
    noise_steps: int = 0

    def __post_init__(self) -> None:
        at_least(0, self, "noise_steps")
        self.noise_settings()
        self.schedule(1)

    def schedule(self, steps: int) -> NoiseSchedule:
        """Noise probability of each 0-based step of a run of `steps` steps."""
        return NoiseSchedule(
            start=self.noise_start,
            end=self.noise_end,
            base=self.noise_base,
            shape=self.noise_shape,
            # Step `steps - 1`, the last one, is the first at `noise_end`.
            total_steps=self.noise_steps or max(steps - 1, 1),
        )


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Which episodes a step plays.

    Attributes:
        questions_per_step: questions, and thus groups, per step.
        group_size: episodes per question.
        share_group_seed: give equal queries of a group equal pages.
        max_refills: how often a step replaces groups of equal rewards by groups of other questions
            (dynamic sampling of DAPO); groups still missing then stay missing.
        curriculum: question structures, such as chain1 chain2, in the order in which they are
            added; empty for all from the start.
        curriculum_steps: step at which the last structure is added; 0 for half of the run.
        one_step_off: play the next step's episodes during this step's update, with the weights
            before it. Needs --importance-sampling and a generator with its own weights: vLLM, or
            transformers with --rollout-dtype.
        control: "shuffled_rewards" assigns each step's rewards to the wrong episodes; a policy that
            still improves does not learn from rewards.
    """

    questions_per_step: int = 14
    group_size: int = 10
    share_group_seed: bool = True
    max_refills: int = 0
    curriculum: tuple[str, ...] = ()
    curriculum_steps: int = 0
    one_step_off: bool = False
    control: Literal["none", "shuffled_rewards"] = "none"

    def __post_init__(self) -> None:
        at_least(1, self, "questions_per_step", "group_size")
        at_least(0, self, "max_refills", "curriculum_steps")


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How the policy's turns are generated.

    Attributes:
        max_new_tokens: longest action, in tokens.
        temperature: sampling temperature in training; evaluation is greedy.
        generator: what generates: "transformers" or "vllm" in process, or, as JSON,
            {"kind": "vllm-server", "servers": [URLs]}. Servers read new weights from the run's
            folder ("weights": "folder") or receive them over NCCL ("weights": "nccl").
        rollout_dtype: dtype of a copy of the weights that transformers samples from; bfloat16
            halves the time of a large model where the device computes in it. "auto" measures this
            once. None samples from the trained weights.
    """

    max_new_tokens: int = 96
    temperature: float = 1.0
    generator: str | None = None
    rollout_dtype: DType | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        at_least(1, self, "max_new_tokens")
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be positive, got {self.temperature}; "
                "a greedy policy explores nothing"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When and on how many held-out questions the policy is evaluated.

    Attributes:
        eval_every: steps between evaluations; 0 for none between the first and the last.
        eval_episodes: held-out questions of an evaluation during the run.
        final_episodes: held-out questions of the evaluations before and after the run.
        eval_noise: noise probabilities of the evaluation; 0 and --noise-end are always added. The
            best checkpoint has the highest F1, averaged over them and the real engine.
    """

    eval_every: int = 19
    eval_episodes: int = 128
    final_episodes: int = 512
    eval_noise: tuple[float, ...] = (0.0, 0.25, 0.5)

    def __post_init__(self) -> None:
        at_least(0, self, "eval_every")
        at_least(1, self, "eval_episodes", "final_episodes")
        if not self.eval_noise or not all(0 <= noise <= 1 for noise in self.eval_noise):
            raise ValueError(f"eval_noise holds probabilities in [0, 1], got {self.eval_noise}")


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """Output folder and session of a run; `train` and `warm-start` share them.

    Attributes:
        seed: seed of all randomness.
        output: output folder; a folder that holds a run is refused without --resume. Without this
            flag, a second run goes to a folder with the number 2, and so on.
        resume: continue from the newest checkpoint in --output, or start if there is none. Without
            --output, the newest run with these settings is continued.
        json: print a JSON object as the last line of standard output.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: newest checkpoints that are kept, and in `train` also the best by held-out
            F1.
        threads: CPU threads of torch; 0 for torch's default.
        deterministic: reproduce a run bit by bit on the same machine (with transformers as the
            generator): episodes of a step advance together, and torch uses deterministic kernels.
        rank_deadline_s: longest time, in seconds, that one process of a distributed run waits for
            another, for instance for the slowest rollout.
    """

    seed: int = 0
    output: Path = Path("runs/train")
    resume: bool = False
    json: bool = False
    checkpoint_every: int = 10
    keep_checkpoints: int = 2
    threads: int = 0
    deterministic: bool = True
    rank_deadline_s: float = 1800.0

    def __post_init__(self) -> None:
        expand_paths(self)
        at_least(1, self, "checkpoint_every", "keep_checkpoints")
        at_least(0, self, "seed", "threads")
        if not self.rank_deadline_s > 0:
            raise ValueError(f"rank_deadline_s must be above 0, got {self.rank_deadline_s}")


class RunSettings(FlatSettings):
    """Settings of a command that has a run folder."""

    settings_file: ClassVar[str]

    @property
    def run(self) -> SessionConfig:
        """Output folder and session."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunConfig(SessionConfig):
    """Length, guard and reports of a run of `train`.

    Attributes:
        steps: updates of the run, each on new rollouts.
        guard: reaction to a collapse (reward halved while entropy, format, repetition, KL,
            searches or gradients left their usual range): "warn" prints it, "stop" ends the run
            with an error, "roll_back" returns to the best checkpoint with half the learning rate,
            at most three times.
        tensorboard: write TensorBoard event files.
        tracker: also report to Weights & Biases or trackio.
        prices: prices in US dollars for the cost table, as JSON: fields of
            `zs_env.search.prices.PriceTable`.
    """

    steps: int = 38
    guard: Literal["warn", "stop", "roll_back"] = "warn"
    tensorboard: bool = True
    tracker: TrackerName = "none"
    prices: str = "{}"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "steps")


def heading(title: str) -> Any:
    """Heading of a part's flags in the help of a command."""
    return tyro.conf.arg(name=title)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunSettings):
    """All settings of `zerosearch train`."""

    settings_file = "config.json"

    environment: Annotated[EnvironmentConfig, heading("questions and engine")] = EnvironmentConfig()
    noise: Annotated[NoiseConfig, heading("noise")] = NoiseConfig()
    rollouts: Annotated[RolloutConfig, heading("rollouts")] = RolloutConfig()
    algorithm: Annotated[AlgorithmConfig, heading("optimization")] = _ALGORITHM
    optimizer: Annotated[OptimizerConfig, heading("optimization")] = _OPTIMIZER
    generation: Annotated[GenerationConfig, heading("generation")] = GenerationConfig()
    evaluation: Annotated[EvaluationConfig, heading("evaluation")] = EvaluationConfig()
    model: Annotated[ModelConfig, heading("run")] = _MODEL
    run: Annotated[RunConfig, heading("run")] = RunConfig()

    def __post_init__(self) -> None:
        if self.algorithm.algorithm == "sft":
            raise ValueError(
                "algorithm is 'sft', which learns from demonstrations, not from rollouts; use "
                "`zerosearch warm-start`"
            )
        if self.rollouts.one_step_off and self.algorithm.importance_sampling == "none":
            raise ValueError(
                "one_step_off learns from episodes of older weights, but importance_sampling is "
                "'none'; set importance_sampling='token_truncate', or another"
            )
        if self.algorithm.needs_groups and self.rollouts.group_size < 2:
            raise ValueError(
                f"{self.algorithm.algorithm} compares the episodes of a group, got group_size="
                f"{self.rollouts.group_size}; use at least 2, or algorithm='reinforce_pp'"
            )
