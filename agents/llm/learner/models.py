"""Log-probabilities and values of action tokens, computed without the logits of other tokens.

Only positions that predict an action token reach the output head, one chunk at a time. The backward
pass recomputes the logits of each chunk, so neither [A, V] nor [B, T, V] is ever in memory.

Shapes: A action tokens, D hidden size, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.llm.learner.batch import MicroBatch

# Logits of a chunk: 16 MB in float32 on a CPU, about the size of its cache. 512 MB on a GPU, which
# reads the weights of the whole head for each chunk.
_CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}


@dataclass(frozen=True, slots=True)
class _LogitTransform:
    """Maps raw logits to those that are sampled from: scale, soft cap (Gemma), temperature."""

    scale: float
    cap: float | None
    temperature: float

    def forward(self, raw: Tensor) -> Tensor:
        logits = raw.mul_(self.scale) if self.scale != 1.0 else raw
        if self.cap is not None:
            logits = logits.div_(self.cap).tanh_().mul_(self.cap)
        return logits.div_(self.temperature) if self.temperature != 1.0 else logits

    def backward(self, logits: Tensor, grad: Tensor) -> Tensor:
        if self.cap is not None:
            grad = grad.mul_(1 - (logits * (self.temperature / self.cap)) ** 2)
        factor = self.scale / self.temperature
        return grad.mul_(factor) if factor != 1.0 else grad


class _HeadLogprobs(torch.autograd.Function):
    """Output head, log-softmax, selection of the target and entropy, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_AD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_A: Tensor,
        transform: _LogitTransform,
    ) -> tuple[Tensor, Tensor]:
        softmax_dtype = torch.promote_types(hidden_AD.dtype, torch.float32)
        logprobs_A = hidden_AD.new_empty(len(targets_A), dtype=softmax_dtype)
        entropies_A = torch.empty_like(logprobs_A)
        normalizers_A = torch.empty_like(logprobs_A)
        for chunk in _chunks(targets_A, weight_VD):
            logits_CV = _logits(hidden_AD[chunk], weight_VD, bias_V, transform)
            normalizers_A[chunk] = logits_CV.logsumexp(-1)
            chosen_C = logits_CV.gather(-1, targets_A[chunk, None])[:, 0]
            logprobs_A[chunk] = chosen_C - normalizers_A[chunk]
            log_p_CV = logits_CV.sub_(normalizers_A[chunk, None])
            entropies_A[chunk] = -(log_p_CV.exp() * log_p_CV.clamp_min_(-1e30)).sum(-1)
        ctx.save_for_backward(hidden_AD, weight_VD, bias_V, targets_A, normalizers_A, entropies_A)
        ctx.transform = transform
        ctx.set_materialize_grads(False)
        return logprobs_A, entropies_A

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden_AD, weight_VD, bias_V, targets_A, normalizers_A, entropies_A = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return None, None, None, None, None
        grad_logprobs_A, grad_entropies_A = (
            torch.zeros_like(entropies_A) if grad is None else grad for grad in grads
        )
        with_entropy = grads[1] is not None
        grad_hidden_AD = torch.empty_like(hidden_AD) if ctx.needs_input_grad[0] else None
        # Accumulate over chunks in float32 at least: bfloat16 would round late chunks away.
        grad_weight_VD = (
            torch.zeros_like(weight_VD, dtype=entropies_A.dtype)
            if ctx.needs_input_grad[1]
            else None
        )
        grad_bias_V = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        for chunk in _chunks(targets_A, weight_VD):
            logits_CV = _logits(hidden_AD[chunk], weight_VD, bias_V, ctx.transform)
            pull_C1 = grad_logprobs_A[chunk, None]
            log_p_CV = logits_CV - normalizers_A[chunk, None]
            grad_CV = log_p_CV.exp()
            if with_entropy:
                # dH/dz = -p (log p + H)
                surprise_CV = log_p_CV.clamp_min_(-1e30).add_(entropies_A[chunk, None])
                grad_CV.mul_(surprise_CV.mul_(-grad_entropies_A[chunk, None]).sub_(pull_C1))
            else:
                grad_CV.mul_(-pull_C1)
            grad_CV.scatter_add_(-1, targets_A[chunk, None], pull_C1)
            grad_CV = ctx.transform.backward(logits_CV, grad_CV).to(hidden_AD.dtype)
            if grad_hidden_AD is not None:
                torch.mm(grad_CV, weight_VD, out=grad_hidden_AD[chunk])
            if grad_weight_VD is not None:
                if grad_weight_VD.dtype == grad_CV.dtype:
                    grad_weight_VD.addmm_(grad_CV.T, hidden_AD[chunk])
                else:
                    grad_weight_VD.add_(grad_CV.T @ hidden_AD[chunk])
            if grad_bias_V is not None:
                grad_bias_V.add_(grad_CV.sum(0))
        if grad_weight_VD is not None:
            grad_weight_VD = grad_weight_VD.to(weight_VD.dtype)
        return grad_hidden_AD, grad_weight_VD, grad_bias_V, None, None


def _chunks(targets_A: Tensor, weight_VD: Tensor) -> Iterator[slice]:
    elements = _CHUNK_ELEMENTS.get(targets_A.device.type, _CHUNK_ELEMENTS["cpu"])
    size = max(1, elements // len(weight_VD))
    for begin in range(0, len(targets_A), size):
        yield slice(begin, begin + size)


def _logits(
    hidden_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, transform: _LogitTransform
) -> Tensor:
    raw_CV = torch.nn.functional.linear(hidden_CD, weight_VD, bias_V)
    return transform.forward(raw_CV.to(torch.promote_types(raw_CV.dtype, torch.float32)))


def head_logprobs(
    hidden_AD: Tensor,
    head: nn.Module,
    targets_A: Tensor,
    *,
    temperature: float = 1.0,
    scale: float = 1.0,
    cap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """[A] log-probabilities of targets and [A] entropies, under softmax(transform(head(hidden))).

    Differentiable once, in hidden states, weight and bias, by both results.

    Args:
        hidden_AD: [A, D] hidden states that predict the targets.
        head: a linear layer, as `model.get_output_embeddings()` gives it.
        targets_A: [A] ids.
        temperature: sampling temperature, > 0.
        scale: factor that the model itself applies to its logits.
        cap: soft cap: logits become cap * tanh(logits / cap) before the temperature.
    """
    weight_VD, bias_V = head.weight, getattr(head, "bias", None)
    assert isinstance(weight_VD, Tensor)
    device_type = hidden_AD.device.type
    if torch.is_autocast_enabled(device_type):
        # Cast outside of the function, so that autograd records it: its backward has no autocast.
        dtype = torch.get_autocast_dtype(device_type)
        hidden_AD, weight_VD = hidden_AD.to(dtype), weight_VD.to(dtype)
        bias_V = None if bias_V is None else bias_V.to(dtype)
    transform = _LogitTransform(scale, cap, temperature)
    with torch.autocast(device_type, enabled=False):
        return _HeadLogprobs.apply(hidden_AD, weight_VD, bias_V, targets_A, transform)


def predicting_states(body: nn.Module, micro_batch: MicroBatch) -> Tensor:
    """[A, D] hidden states at the positions that predict an action token.

    No attention mask is needed: the padding is on the right and attention is causal.
    """
    hidden_BTD = body(input_ids=micro_batch.token_ids_BT, use_cache=False).last_hidden_state
    return hidden_BTD.flatten(0, 1).index_select(0, micro_batch.predictors_A)


class LogprobModel(nn.Module):
    """[A] log-probabilities and entropies of a micro-batch's action tokens, in its order.

    A module, so that FSDP can wrap it.

    Args:
        model: a Hugging Face causal language model.
        temperature: sampling temperature, > 0.
    """

    def __init__(self, model: Any, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, micro_batch: MicroBatch) -> tuple[Tensor, Tensor]:
        config = self.model.config.get_text_config()
        scale = 1.0 / getattr(config, "logits_scaling", 1.0) * getattr(config, "logit_scale", 1.0)
        return head_logprobs(
            predicting_states(self.model.base_model, micro_batch),
            self.model.get_output_embeddings(),
            micro_batch.target_ids_A,
            temperature=self.temperature,
            scale=scale,
            cap=getattr(config, "final_logit_softcapping", None),
        )


class Critic(nn.Module):
    """The critic: predicts the remaining reward before each action token.

    It is a copy of the policy's body with a value head. It shares no trained weight with the
    policy, so the value loss never moves the policy.

    Attributes:
        body: a transformer without a language-model head.
        head: hidden state to value, float32 or wider; initialized to 0, so every value starts at 0.
    """

    def __init__(self, body: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.body = body
        parameter = next(body.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        self.head = nn.Linear(hidden_size, 1, dtype=dtype, device=parameter.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_policy(cls, model: Any) -> Critic:
        """Copy the body of a policy; frozen weights (under an adapter) are shared."""
        frozen = [weight for weight in model.base_model.parameters() if not weight.requires_grad]
        body = copy.deepcopy(model.base_model, {id(weight): weight for weight in frozen})
        return cls(body, model.config.get_text_config().hidden_size)

    def forward(self, micro_batch: MicroBatch) -> Tensor:
        """[A] values before each of the micro-batch's action tokens."""
        states_AD = predicting_states(self.body, micro_batch)
        with torch.autocast(states_AD.device.type, enabled=False):
            return self.head(states_AD.to(self.head.weight.dtype))[:, 0]
