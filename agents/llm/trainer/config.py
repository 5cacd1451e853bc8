"""Every setting of a training run, in one flat table: the flags and the TOML keys.

The defaults are the main job: the shipped tiny policy learns to search the embedded world.
Imports no torch, so that `zerosearch train --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from agents.llm.algorithms.registry import (
    AlgorithmName,
    ImportanceSamplingName,
    KLEstimator,
    KLIn,
    LossAggregation,
    PolicyLossName,
)
from agents.llm.trainer.metrics import TrackerName
from agents.specs import rewritten, spec_from_text
from zs_env.noise import NoiseDraw, NoiseSchedule, NoiseShape

# Flags that may differ when a run is resumed: they change what is kept or shown, not the weights.
_FREE_ON_RESUME = frozenset(
    (
        *("resume", "json", "checkpoint_every", "keep_checkpoints", "tensorboard", "tracker"),
        *("output", "prices", "generator", "engine_timeout_s", "rank_deadline_s"),
        "gradient_checkpointing",
    )
)
# The same within the spec of an engine: where a simulator is served, and what may be spent.
_FREE_OF_ENGINES = frozenset(("servers", "limits", "prices", "budget"))
_ENGINES = ("engine", "eval_engine", "real_engine")

_LISTS = ("eval_noise", "curriculum")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a language model to search.

    Attributes:
        policy: "tiny" (ships with the package), a Hugging Face name, a folder, or a .gguf file.
        env: environment id.
        questions: what to train on: a JSON spec, a kind such as "world", or a .jsonl/.parquet
            file; without it the environment's own. The spec of several files is
            {"kind": "file", "path": [...]}.
        engine: who answers searches in training: a JSON spec or a kind such as "paragraphs";
            without it the environment's own.
        eval_questions: held-out questions, as `questions`; without it the held-out split of the
            training questions.
        eval_engine: who answers searches on held-out questions; without it as `engine`.
        real_engine: as `engine`: the real search engine on which the policy is judged; without
            it BM25 over the held-out world where the questions are a world's, none elsewhere.
        algorithm: how rewards become gradients.
        steps: updates of the run, each on fresh rollouts.
        seed: of everything that is drawn.
        output: folder of the run; one that holds a run already is refused without --resume.
        resume: go on from the newest checkpoint in `output`, or start where there is none.
        json: print one JSON object as the last line of standard output.
        checkpoint_every: steps from one checkpoint to the next.
        keep_checkpoints: newest checkpoints that stay; the best by held-out F1 stays as well.
        max_turns: actions an episode may take.
        num_documents: documents a page.
        max_document_chars: longer documents are cut; short ones make long runs affordable.
        engine_timeout_s: seconds that a call of the engine may take before its episodes are void; a
            simulator on a CPU may need more.
        prompt: the environment's words: a template's name or text; without it the policy's or
            the environment's own.
        reward: a preset's name; without it the environment's own, the answer's F1.
        noise_draw: what the chance of noise is drawn for: each page, each document, or each turn
            of a group.
        noise_start: chance at the first step that a search returns noisy documents.
        noise_end: the same at the last step.
        noise_base: how late the rise comes; 4 as in the paper.
        noise_shape: the schedule's form.
        noise_steps: steps over which noise rises; 0 for all.
        curriculum: structures of questions, such as chain1 chain2, in the order in which they
            join; without it all are asked from the start.
        curriculum_steps: step at which the last of them joins; 0 for half of the steps.
        questions_per_step: questions, and so groups, of one step.
        group_size: episodes of each question.
        max_refills: times that a step replaces the groups whose rewards are all equal by groups of
            other questions (DAPO's dynamic sampling); what is still missing then stays so.
        share_group_seed: members of a group that ask the same thing get the same page.
        max_new_tokens: longest action in tokens.
        temperature: of sampling in training; evaluation is greedy.
        learning_rate: peak of AdamW's learning rate.
        warmup_steps: steps over which the learning rate rises from 0.
        lr_schedule: what follows the warm-up; linear and cosine end at 0 with the last step.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        minibatches: optimizer steps that a step's rollouts are split into.
        epochs: passes over a step's rollouts.
        tokens_per_micro_batch: most tokens, padding included, of one forward and backward pass.
        gradient_checkpointing: in updates, keep what enters each layer only and compute the rest
            anew in the backward pass: much less memory, one more forward pass.
        compile_layers: in updates, run each layer by torch.compile: on a GPU many small kernels
            become few; the first update compiles for a minute or two. Needs a C compiler.
        policy_loss: how ratio and advantage become a loss; without it as the algorithm's source.
        clip_low: the ratio of new to old probability counts down to 1 - clip_low; without it the
            algorithm's own, as for clip_high.
        clip_high: the ratio of new to old probability counts up to 1 + clip_high.
        dual_clip: the most that the ratio counts where the advantage is negative; 3 is usual;
            without it there is no bound.
        kl_coef: weight of the divergence from the starting policy; 0 needs no reference model.
        kl_estimator: how it is estimated; without it as the algorithm's source does.
        kl_in: in the loss or in the reward; without it as the algorithm's source does.
        entropy_coef: weight of the entropy bonus.
        loss_aggregation: whether every token of a step weighs the same, or every episode, or every token
            the same whatever the step holds; the algorithm's own by default.
        recompute_logprobs: take ratios to the trainer's own log-probabilities, not the sampler's.
        importance_sampling: how tokens are weighted where the sampler is not quite the policy that learns
            (another engine or precision, or older weights).
        importance_limit: largest such weight.
        gamma: discount per policy token, or per turn (grpo_turn).
        gae_lambda: of generalised advantage estimation, for algorithms with a critic.
        critic_learning_rate: peak of the critic's learning rate.
        value_clip: how far the critic may move in one step.
        autocast: compute updates in bfloat16, with weights in their own precision.
        eval_every: steps from one evaluation to the next; 0 for none between first and last.
        eval_episodes: held-out questions of an evaluation during the run.
        final_episodes: held-out questions of the table before and after.
        eval_noise: noise probabilities of the evaluation; 0 and `noise_end` are always among
            them. The best checkpoint has the highest F1, averaged over them and the real engine.
        device: "auto" takes a GPU where there is one.
        dtype: of the policy's weights, also of those that updates are added to: in bfloat16 a small
            learning rate changes nothing. `autocast` computes in it and keeps float32 weights.
            float64 is for tests: the order of a sum then decides no sampled token.
        lora_rank: of adapters that are trained in place of the weights, for policy and critic; the
            reference is the policy without them; 0 trains every weight.
        lora_alpha: adapters count alpha / rank times.
        generator: what writes episodes: "transformers" in process; "vllm" in process; or, as JSON,
            {"kind": "vllm-server", "servers": [URLs]}, whose servers read new weights from the
            run's folder ("weights": "folder") or get them over NCCL ("weights": "nccl").
        rollout_dtype: of a copy of them that episodes are sampled from; bfloat16 halves their time
            on a large model; without it episodes are sampled from the weights themselves.
        one_step_off: play the next step's episodes while this step's update is made, with the
            weights of before it, which `importance_sampling` makes up for; takes a generator with weights of
            its own: vLLM, or transformers with rollout_dtype. The same run still gives the same
            bits, also one that was killed; one that was stopped, or that a failure ended, before
            the episodes were played goes on with episodes of its newest weights.
        deterministic: the same run gives the same bits on the same machine (with transformers as
            the generator): all episodes of a step are played in lock-step, and torch's kernels are
            the deterministic ones. Without it no episode waits for another's page.
        threads: CPU threads of torch; 0 for as many as torch takes by itself.
        rank_deadline_s: longest that one process of a run on several waits for another; they wait
            for the slowest rollout and for the writing of checkpoints.
        tensorboard: write event files.
        tracker: also report to Weights & Biases or trackio, where installed.
        prices: US dollars as JSON, fields of `zs_env.search.prices.PriceTable`.
        guard: what is done about a collapse (reward halved while entropy, format, repetition, KL or
            gradients are no longer what they were): "warn" says so, "stop" ends the run with an
            error, "roll_back" goes on from the best checkpoint with half the learning rate, up to
            three times.
        control: "shuffled_rewards" deals each step's rewards to the wrong episodes; a policy that
            improves under it improves for a reason other than reward.
    """

    policy: str = "tiny"
    env: str = "ZeroSearch-v0"
    questions: str | None = None
    engine: str | None = None
    eval_questions: str | None = None
    eval_engine: str | None = None
    real_engine: str | None = None
    algorithm: AlgorithmName = "grpo"
    steps: int = 38
    seed: int = 0
    output: Path = Path("runs/train")
    resume: bool = False
    json: bool = False
    checkpoint_every: int = 10
    keep_checkpoints: int = 2

    max_turns: int = 6
    num_documents: int = 5
    max_document_chars: int = 2048
    engine_timeout_s: float = 60.0
    prompt: str | None = None
    reward: str | None = None
    noise_draw: NoiseDraw = "search"
    noise_start: float = 0.2
    noise_end: float = 0.5
    noise_base: float = 4.0
    noise_shape: NoiseShape = "exponential"
    noise_steps: int = 0

    curriculum: tuple[str, ...] = ()
    curriculum_steps: int = 0
    questions_per_step: int = 14
    group_size: int = 10
    max_refills: int = 0
    share_group_seed: bool = True
    max_new_tokens: int = 96
    temperature: float = 1.0

    learning_rate: float = 3e-4
    warmup_steps: int = 2
    lr_schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    minibatches: int = 2
    epochs: int = 1
    tokens_per_micro_batch: int = 4096
    gradient_checkpointing: bool = False
    compile_layers: bool = False
    policy_loss: PolicyLossName | None = None
    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl_estimator: KLEstimator | None = None
    kl_in: KLIn | None = None
    entropy_coef: float = 0.0
    loss_aggregation: LossAggregation | None = None
    recompute_logprobs: bool = False
    importance_sampling: ImportanceSamplingName = "none"
    importance_limit: float = 3.0
    gamma: float = 1.0
    gae_lambda: float = 1.0
    critic_learning_rate: float = 1e-3
    value_clip: float = 0.2
    autocast: bool = False

    eval_every: int = 19
    eval_episodes: int = 128
    final_episodes: int = 512
    eval_noise: tuple[float, ...] = (0.0, 0.25, 0.5)

    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    lora_rank: int = 0
    lora_alpha: int = 32
    generator: str | None = None
    rollout_dtype: Literal["float32", "bfloat16", "float64"] | None = None
    one_step_off: bool = False
    deterministic: bool = True
    threads: int = 0
    rank_deadline_s: float = 1800.0
    tensorboard: bool = True
    tracker: TrackerName = "none"
    prices: str = "{}"
    guard: Literal["warn", "stop", "roll_back"] = "warn"
    control: Literal["none", "shuffled_rewards"] = "none"

    def __post_init__(self) -> None:
        for name in (
            *("steps", "checkpoint_every", "keep_checkpoints", "questions_per_step", "group_size"),
            *("max_new_tokens", "minibatches", "epochs", "eval_episodes", "final_episodes"),
            *("max_turns", "num_documents", "max_document_chars", "tokens_per_micro_batch"),
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "eval_every",
            "threads",
            "warmup_steps",
            "noise_steps",
            "curriculum_steps",
            "max_refills",
            "lora_rank",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not self.rank_deadline_s > 0:
            raise ValueError(f"rank_deadline_s must be above 0, got {self.rank_deadline_s}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be positive, got {self.temperature}; "
                "a greedy policy explores nothing"
            )
        if self.one_step_off and self.importance_sampling == "none":
            raise ValueError(
                "one_step_off learns from episodes of older weights, but importance_sampling is 'none'; set "
                "importance_sampling='token_truncate', or another"
            )
        if not self.eval_noise or not all(0 <= noise <= 1 for noise in self.eval_noise):
            raise ValueError(
                f"eval_noise holds probabilities in [0, 1], at least one, got {self.eval_noise}"
            )
        self.noise()

    def noise(self) -> NoiseSchedule:
        """Noise probability of every training step."""
        return NoiseSchedule(
            start=self.noise_start,
            end=self.noise_end,
            base=self.noise_base,
            shape=self.noise_shape,
            # The last step (counted from 0) is the first at `noise_end`.
            total_steps=self.noise_steps or max(self.steps - 1, 1),
        )

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        lists = {name: list(values[name]) for name in _LISTS}
        return {**values, "output": str(self.output), **lists}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Inverse of `to_json`."""
        tuples = {name: tuple(values[name]) for name in _LISTS if name in values}
        return cls(**{**values, "output": Path(values["output"]), **tuples})

    def check_resumes(self, recorded: TrainConfig) -> None:
        """Refuse to continue a run under settings that would make it another run.

        Raises:
            ValueError: naming every setting that differs, with both values.
        """
        free = _FREE_ON_RESUME | ({"steps"} if recorded._steps_shape_nothing() else set())
        differing = [
            f"{field.name}={getattr(self, field.name)!r} (the run has "
            f"{getattr(recorded, field.name)!r})"
            for field in fields(self)
            if field.name not in free
            and _shapes(field.name, getattr(self, field.name))
            != _shapes(field.name, getattr(recorded, field.name))
        ]
        if differing:
            raise ValueError(
                f"--resume continues the run in {self.output} as it was begun, but got "
                f"{', '.join(differing)}; leave those flags as they were, or choose another "
                "--output"
            )

    def _steps_shape_nothing(self) -> bool:
        noise_is_fixed = self.noise_steps > 0 or self.noise_shape == "constant"
        order_is_fixed = self.curriculum_steps > 0 or not self.curriculum
        return noise_is_fixed and order_is_fixed and self.lr_schedule == "constant"


def _shapes(name: str, value: Any) -> Any:
    """What of a setting shapes a run."""
    if name not in _ENGINES or value is None:
        return value
    return rewritten(
        spec_from_text(value, role="engine"),
        lambda one: {key: held for key, held in one.items() if key not in _FREE_OF_ENGINES},
    )


def with_threads(config: TrainConfig, threads: int) -> TrainConfig:
    """The same settings with the number of threads that 0 stands for."""
    return config if config.threads else replace(config, threads=threads)
