"""Cases in which TRL's GRPOTrainer and the learner must agree.

Each case pairs equivalent settings of both. Model and rollouts are made by formulas without random
generators, so that recorded results stay valid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env import Question, Transcript

VOCABULARY = 64
LEARNING_RATE, ADAM_EPS = 0.02, 1e-3
MOST_COMPLETION_TOKENS = 20
_UNCLIPPED = 1e30
_WAVES = 4

# Prompt length of each group; lengths of the turns (action, observation, action, ...) of its four
# rollouts, one of which ends with an observation. The rewards of both groups have the same std.
_PROMPTS = (5, 8)
_TURNS = (
    ((3, 4, 2), (4, 3), (2, 7, 4), (4, 1, 1, 2, 5)),
    ((1,), (5, 3, 3), (3, 5, 2, 1, 2), (2, 2, 6)),
)
_REWARDS = ((1.0, 0.0, 0.25, 0.0), (0.0, 1.0, 0.0, 0.25))


@dataclass(frozen=True, kw_only=True)
class Case:
    """Settings of both trainers that must give the same loss and gradient.

    Attributes:
        trl: fields of TRL's GRPOConfig.
        ours: fields of AlgorithmConfig, and `loss_divisor`.
        importance_sampling: attributes of TRL's trainer for vLLM's importance sampling.
        max_grad_norm: of both trainers; None disables clipping.
        max_tokens: positions of a forward pass of the learner.
        advantage_scale: TRL's advantages divided by those of the learner.
        num_steps: optimizer steps on the same rollouts; all but the first are off-policy.
    """

    trl: Mapping[str, Any]
    ours: Mapping[str, Any]
    importance_sampling: Mapping[str, Any] = field(default_factory=dict)
    max_grad_norm: float | None = None
    max_tokens: int = 4096
    advantage_scale: float = 1.0
    num_steps: int = 2

    @property
    def temperature(self) -> float:
        """Sampling temperature of both trainers."""
        return self.trl.get("temperature", 1.0)


@dataclass(frozen=True)
class Step:
    """Loss and gradient of one optimizer step, gradients by parameter name."""

    loss: float
    gradients: Mapping[str, Tensor]

    def scaled(self, factor: float) -> Step:
        """The step with all advantages multiplied by `factor`."""
        return Step(self.loss * factor, {name: g * factor for name, g in self.gradients.items()})


def _std_ratio() -> float:
    """TRL divides by the sample std + 1e-4, the learner by the population std + 1e-6."""
    spread = float(torch.tensor(_REWARDS[0], dtype=torch.float64).std(correction=0))
    return (spread + 1e-6) / (spread * math.sqrt(4 / 3) + 1e-4)


def _importance_sampling(mode: str, limit: float) -> Case:
    return Case(
        trl={"loss_type": "dapo"},
        ours={"loss_aggregation": "token", "importance_sampling": mode, "importance_limit": limit},
        importance_sampling={
            "vllm_importance_sampling_mode": mode,
            "vllm_importance_sampling_clip_max": limit,
        },
    )


CASES: Mapping[str, Case] = {
    "grpo": Case(trl={"loss_type": "grpo"}, ours={"loss_aggregation": "sequence"}),
    "bnpo": Case(
        # TRL's mean is over a micro-batch, ours over the step, so there is one micro-batch.
        trl={"loss_type": "bnpo", "per_device_train_batch_size": 8},
        ours={"loss_aggregation": "token"},
        max_tokens=30,
    ),
    "dr_grpo": Case(
        trl={"loss_type": "dr_grpo"},
        ours={"loss_aggregation": "constant", "loss_divisor": MOST_COMPLETION_TOKENS},
    ),
    "dapo": Case(trl={"loss_type": "dapo"}, ours={"loss_aggregation": "token"}, max_tokens=30),
    "cispo": Case(
        # TRL bounds the ratio, we bound ratio - 1.
        trl={"loss_type": "cispo", "epsilon_high": 1.05},
        ours={
            "loss_aggregation": "token",
            "policy_loss": "cispo",
            "clip_low": 1.0,
            "clip_high": 0.05,
        },
    ),
    "gspo": Case(
        trl={
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 0.02,
            "epsilon_high": 0.03,
        },
        ours={
            "loss_aggregation": "sequence",
            "policy_loss": "gspo",
            "clip_low": 0.02,
            "clip_high": 0.03,
        },
    ),
    "two_sided_clip": Case(
        trl={"loss_type": "dapo", "delta": 1.3},
        ours={"loss_aggregation": "token", "dual_clip": 1.3},
    ),
    "kl": Case(
        # TRL's default multiplies the KL by the ratio, which has the gradient of k2, not k3.
        trl={"loss_type": "grpo", "beta": 0.3, "use_bias_correction_kl": False},
        ours={"loss_aggregation": "sequence", "kl_coef": 0.3, "kl_estimator": "k3"},
    ),
    "entropy": Case(
        # TRL's bonus is the mean over the tokens of a micro-batch.
        trl={"loss_type": "dapo", "entropy_coef": 0.05, "per_device_train_batch_size": 8},
        ours={"loss_aggregation": "token", "entropy_coef": 0.05},
    ),
    "temperature": Case(
        trl={"loss_type": "dapo", "temperature": 0.7}, ours={"loss_aggregation": "token"}
    ),
    "gradient_norm": Case(
        trl={"loss_type": "dapo"}, ours={"loss_aggregation": "token"}, max_grad_norm=0.05
    ),
    "scaled_by_the_group": Case(
        trl={"loss_type": "grpo", "scale_rewards": "group"},
        ours={"algorithm": "grpo", "loss_aggregation": "sequence"},
        advantage_scale=_std_ratio(),
        # Because of AdamW's eps, the size of a gradient affects the weights and the second step.
        num_steps=1,
    ),
    "token_truncate": _importance_sampling("token_truncate", 1.2),
    "token_mask": _importance_sampling("token_mask", 1.2),
    "sequence_truncate": _importance_sampling("sequence_truncate", 1.5),
    "sequence_mask": _importance_sampling("sequence_mask", 1.5),
}


def their_settings(case: Case) -> dict[str, Any]:
    """Fields of TRL's GRPOConfig for a case."""
    rows = case.trl.get("per_device_train_batch_size", 4)
    return {
        "num_generations": 4,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 8 // rows,
        "max_completion_length": MOST_COMPLETION_TOKENS,
        "num_iterations": case.num_steps,
        "learning_rate": LEARNING_RATE,
        "adam_epsilon": ADAM_EPS,
        "beta": 0.0,
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "scale_rewards": "none",
        "max_grad_norm": case.max_grad_norm or 0.0,
        **case.trl,
    }


def our_steps(case: Case) -> list[Step]:
    """Loss and gradient of every step of the learner, with advantages on TRL's scale."""
    steps: list[Step] = []
    for num_steps in range(1, case.num_steps + 1):
        model = make_model()
        report = _learner(model, case, num_steps).update(make_groups())
        assert not report.skipped, report.reason
        # The report has the mean loss of all steps; gradients are those of the last step.
        loss = num_steps * report.metrics["loss"] - sum(step.loss for step in steps)
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        steps.append(Step(loss, gradients).scaled(case.advantage_scale))
    return steps


def _learner(model: Any, case: Case, num_steps: int) -> Learner:
    settings = {"algorithm": "dr_grpo", "clip_low": 0.2, "clip_high": 0.28, **case.ours}
    loss_divisor = settings.pop("loss_divisor", 1024)
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(epochs=num_steps, recompute_logprobs=True, **settings),
        optimizer=OptimizerConfig(
            learning_rate=LEARNING_RATE,
            max_grad_norm=case.max_grad_norm or _UNCLIPPED,
            tokens_per_micro_batch=case.max_tokens,
        ),
        reference_model=make_model(reference=True) if "kl_coef" in settings else None,
        total_updates=1,
        temperature=case.temperature,
        loss_divisor=loss_divisor,
    )
    for group in learner.optimizers["policy"].param_groups:
        group["eps"] = ADAM_EPS
    return learner


def make_model(*, reference: bool = False) -> LlamaForCausalLM:
    """A two-layer Llama in float64 whose weights are sines; the reference has another phase."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for index, (name, weight) in enumerate(model.named_parameters()):
            wave = _wave(weight.numel(), 1 + index + 0.5 * reference).view_as(weight)
            weight.copy_(1 + 0.1 * wave if "norm" in name else 0.4 * wave)
    return model


@cache
def make_groups() -> tuple[Group, ...]:
    """Two groups of four ragged rollouts, whose sampling logprobs are the model's plus noise."""
    ids = (round(1e6 * abs(x)) % VOCABULARY for x in _wave(1000, 0.3).tolist())
    noise = iter((0.25 * _wave(1000, 0.7)).tolist())
    model = make_model()
    groups = []
    for prompt, turns, rewards in zip(_PROMPTS, _TURNS, _REWARDS, strict=True):
        prompt_ids = _take(ids, prompt)
        groups.append(
            Group(
                rollouts=tuple(
                    _make_rollout(model, prompt_ids, [_take(ids, n) for n in lengths], r, noise)
                    for lengths, r in zip(turns, rewards, strict=True)
                )
            )
        )
    return tuple(groups)


def _take(ids: Iterator[int], number: int) -> tuple[int, ...]:
    return tuple(next(ids) for _ in range(number))


@torch.no_grad()
def _make_rollout(
    model: Any,
    prompt_ids: tuple[int, ...],
    turns: Sequence[tuple[int, ...]],
    reward: float,
    noise: Iterator[float],
) -> Rollout:
    all_ids = torch.tensor([[*prompt_ids, *(token for turn in turns for token in turn)]])
    logprobs_TV = model(input_ids=all_ids).logits[0].log_softmax(-1)
    segments = [Segment(source=Source.PROMPT, token_ids=prompt_ids)]
    place = len(prompt_ids)
    for index, turn in enumerate(turns):
        if index % 2:
            segments.append(Segment(source=Source.ENVIRONMENT, token_ids=turn))
        else:
            sampled = tuple(
                float(logprobs_TV[place + i - 1, token]) + next(noise)
                for i, token in enumerate(turn)
            )
            segments.append(Segment(source=Source.POLICY, token_ids=turn, logprobs=sampled))
        place += len(turn)
    transcript = Transcript(
        question=Question(id="q", text="?", answers=("a",)),
        prompt="",
        reason="answer",
        reward_terms=(("answer", reward),),
    )
    return Rollout(segments=tuple(segments), transcript=transcript)


def fingerprint(gradients: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Each gradient's projections on a few waves of length 1: no entry can change unseen."""
    return {
        name: [
            float(_wave(gradient.numel(), 30.5 + k) @ gradient.double().flatten())
            / float(_wave(gradient.numel(), 30.5 + k).norm())
            for k in range(_WAVES)
        ]
        for name, gradient in gradients.items()
    }


def _wave(length: int, pitch: float) -> Tensor:
    """[length] values in [-1, 1] that look random: a cosine whose frequency rises steadily."""
    places = torch.arange(1, length + 1, dtype=torch.float64)
    return torch.cos(places.square() * (pitch * math.sqrt(2)))
