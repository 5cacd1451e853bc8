"""An update whose gradient can be worked out on paper, for every algorithm.

The logits of the policy are its parameter and all zero, so each of four tokens has p = 1/4. A group
has two rollouts after a prompt of one token: (1, 2) with reward 1, and (3) with reward 0. Both were
sampled with p = 1/4, so all ratios are 1. Position 0 predicts the tokens 1 and 3, position 1 the
token 2. The gradient of a loss -w A log p(token) with respect to its row of logits is
-w A (onehot - p), for a token of weight w and advantage A.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env import Question, Transcript

VOCABULARY, LENGTH = 4, 3
# Mean 2/3 and standard deviation sqrt(2) / 3 of 1, 1 and 0 (and of 1/2, 1/2 and -1/2, less 1/2).
_WHITENED = (1 / math.sqrt(2), 1 / math.sqrt(2), -math.sqrt(2))
_ONE_EACH, _NORMALIZED = (1.0, 1.0, 1.0), (1.0, 1.0, -1.0)
# Advantages of the tokens 1, 2 and 3.
ADVANTAGES: dict[str, tuple[float, float, float]] = {
    "grpo": _NORMALIZED,
    "dapo": _NORMALIZED,
    "gspo": _NORMALIZED,
    "cispo": _NORMALIZED,
    "grpo_turn": _NORMALIZED,
    "dr_grpo": (0.5, 0.5, -0.5),
    "rloo": (1.0, 1.0, -1.0),
    "reinforce": (1.0, 1.0, 0.0),
    "reinforce_pp": _WHITENED,
    "reinforce_pp_baseline": _WHITENED,
    "ppo": _WHITENED,
    "sft": _ONE_EACH,
}
# Weights of the tokens 1, 2 and 3, where they are not 1/3.
_WEIGHTS = {"gspo": (1 / 4, 1 / 4, 1 / 2), "dr_grpo": (1 / 2048, 1 / 2048, 1 / 2048)}


class LogitBody(nn.Module):
    """A body whose hidden states, which are also the logits, are its parameter."""

    def __init__(self, logits_BTV: Tensor) -> None:
        super().__init__()
        self.logits_BTV = nn.Parameter(logits_BTV)

    def forward(self, input_ids: Tensor, use_cache: bool) -> Any:
        B, T = input_ids.shape
        shown = self.logits_BTV.expand(max(B, len(self.logits_BTV)), -1, -1)
        return SimpleNamespace(last_hidden_state=shown[:B, :T])


class LogitPolicy(nn.Module):
    """A policy whose logits are a parameter: `.grad` shows the gradient of each logit row."""

    def __init__(self, logits_BTV: Tensor) -> None:
        super().__init__()
        self.base_model = LogitBody(logits_BTV)
        vocabulary = logits_BTV.shape[-1]
        self.head = nn.Linear(vocabulary, vocabulary, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(vocabulary))
        self.head.requires_grad_(False)
        text_config = SimpleNamespace(hidden_size=vocabulary)
        self.config = SimpleNamespace(get_text_config=lambda: text_config)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    @property
    def gradient(self) -> Any:
        return self.base_model.logits_BTV.grad


def assert_by_hand(gradient_TV: Tensor, expected_TV: Tensor) -> None:
    # Advantages are divided by a standard deviation plus 1e-6.
    torch.testing.assert_close(gradient_TV, expected_TV, rtol=1e-5, atol=1e-9)


def make_policy() -> LogitPolicy:
    return LogitPolicy(torch.zeros(1, LENGTH, VOCABULARY, dtype=torch.float64))


def make_groups(ratios: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> list[Group]:
    """The two rollouts, sampled so that the tokens have these ratios of policy to sampler."""
    sampled = [math.log(1 / 4 / ratio) for ratio in ratios]
    return [Group(rollouts=(_rollout((1, 2), sampled[:2], 1.0), _rollout((3,), sampled[2:], 0.0)))]


def _rollout(token_ids: tuple[int, ...], logprobs: list[float], reward: float) -> Rollout:
    question = Question(id="q", text="?", answers=("a",))
    transcript = Transcript(
        question=question, prompt="", reason="answer", reward_terms=(("answer", reward),)
    )
    action = Segment(source=Source.POLICY, token_ids=token_ids, logprobs=tuple(logprobs))
    prompt = Segment(source=Source.PROMPT, token_ids=(0,))
    return Rollout(segments=(prompt, action), transcript=transcript)


def gradient_by_hand(name: str) -> Tensor:
    """[T, V] gradient with respect to the logits."""
    weights = _WEIGHTS.get(name, (1 / 3, 1 / 3, 1 / 3))
    first, second, third = (w * a for w, a in zip(weights, ADVANTAGES[name], strict=True))
    total = first + third
    return torch.tensor(
        [
            [total / 4, total / 4 - first, total / 4, total / 4 - third],
            [second / 4, second / 4, second / 4 - second, second / 4],
            [0.0, 0.0, 0.0, 0.0],
        ],
        dtype=torch.float64,
    )


# With GRPO, and ratios of 1.5, 0.5 and 1.5: the first, of a positive advantage, is clipped,
# and the others count: 1/2 * 1/3 (onehot(2) - p) up, 3/2 * 1/3 (onehot(3) - p) down.
RATIOS = (1.5, 0.5, 1.5)
GRADIENT_WITH_RATIOS = torch.tensor(
    [
        [-1 / 8, -1 / 8, -1 / 8, 3 / 8],
        [1 / 24, 1 / 24, -1 / 8, 1 / 24],
        [0.0, 0.0, 0.0, 0.0],
    ],
    dtype=torch.float64,
)
