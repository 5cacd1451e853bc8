"""A generator that runs transformers in this process: for small models and for tests.

This is the only module of `zs_env` that needs torch. It is imported when such a generator is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import torch
    from torch import Tensor
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        LogitsProcessor,
        LogitsProcessorList,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )
except ImportError as error:
    raise ImportError(
        "generator kind 'transformers' needs torch and transformers; "
        'pip install "zerosearch-gym[train]"'
    ) from error

from zs_env.simulator.generators.base import (
    Completion,
    Output,
    Prompt,
    PromptRejected,
    TextGenerator,
    TextSampling,
    weight_fingerprints,
)
from zs_env.text.paths import expand_home

_SEEDS = 2**63


class TransformersTextGenerator(TextGenerator):
    """Generates batches with a causal language model.

    Each prompt has its own random generator, seeded with the prompt's seed. A text therefore does
    not depend on the other prompts of its batch, except for rounding in padded rows.

    Args:
        model: a model, or the folder or hub name of one in Hugging Face format.
        tokenizer: the model's tokenizer; required if `model` is a model.
        sampling: sampling parameters.
        batch_size: prompts per batch.
        dtype: dtype of loaded weights, such as "bfloat16".
        device: device of the model, such as "cpu" or "cuda".

    Raises:
        ValueError: if `model` is a model and `tokenizer` is missing, or `batch_size` is below 1.
    """

    in_process = True

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        sampling: TextSampling | None = None,
        batch_size: int = 16,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.sampling = sampling or TextSampling()
        self.batch_size = batch_size
        if isinstance(model, PreTrainedModel):
            if tokenizer is None:
                raise ValueError("a model needs its tokenizer; pass tokenizer=")
            self.model: Any = model
            digest = f"{type(model).__name__}:{id(model)}"
        else:
            model = expand_home(model)
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
            self.model.to(device).eval()
            digest = f"{model}:{weight_fingerprints(model)}:{dtype}"
        self.tokenizer: Any = tokenizer
        self.fingerprint = f"transformers-1:{digest}:{self.sampling}"

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> list[Output]:
        """Return one completion per prompt; PromptRejected for a prompt that is too long."""
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        outputs: dict[int, Output] = {}
        max_prompt_tokens = _context_length(self.model.config) - self.sampling.max_tokens
        for index, ids in enumerate(encoded):
            if len(ids) > max_prompt_tokens:
                outputs[index] = PromptRejected(
                    f"the prompt has {len(ids)} tokens; with max_tokens="
                    f"{self.sampling.max_tokens} the model accepts at most "
                    f"{max_prompt_tokens}; lower max_tokens"
                )
        # Sorting by length reduces padding.
        order = sorted(set(range(len(prompts))) - set(outputs), key=lambda n: len(encoded[n]))
        for start in range(0, len(order), self.batch_size):
            indices = order[start : start + self.batch_size]
            batch = [encoded[index] for index in indices]
            seeds = [prompts[index].seed for index in indices]
            outputs.update(zip(indices, self._generate(batch, seeds), strict=True))
        return [outputs[index] for index in range(len(prompts))]

    def _generate(self, batch: list[list[int]], seeds: list[int]) -> list[Completion]:
        width = max(map(len, batch))
        stops = self._stop_ids()
        rows = [[stops[0]] * (width - len(ids)) + ids for ids in batch]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in batch]
        device = self.model.device
        processors = LogitsProcessorList()
        if self.sampling.frequency_penalty:
            processors.append(_FrequencyPenalty(self.sampling.frequency_penalty, width))
        if self.sampling.temperature > 0:
            processors.append(_GumbelSampling(seeds, self.sampling))
        output = self.model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(mask, device=device),
            # _GumbelSampling draws instead, so that each row has its own random generator.
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=self.sampling.max_tokens,
            eos_token_id=stops,
            pad_token_id=stops[0],
            logits_processor=processors,
        )
        return [
            self._as_completion(ids, len(prompt), stops)
            for ids, prompt in zip(output[:, width:].tolist(), batch, strict=True)
        ]

    def _as_completion(self, ids: list[int], prompt_tokens: int, stops: list[int]) -> Completion:
        end = next((index for index, token in enumerate(ids) if token in stops), None)
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        completion_tokens = len(ids) if end is None else end + 1
        return Completion(text, prompt_tokens, completion_tokens, cut=end is None)

    def _stop_ids(self) -> list[int]:
        stop = self.model.generation_config.eos_token_id
        stops = list(stop) if isinstance(stop, list) else [stop]
        stops = [*stops, self.tokenizer.eos_token_id]
        return list(dict.fromkeys(token for token in stops if token is not None)) or [0]


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Return the token ids of a prompt, as a server with a chat API would encode it."""
    if not getattr(tokenizer, "chat_template", None):
        system = f"{prompt.system}\n\n" if prompt.system else ""
        return tokenizer.encode(system + prompt.text)
    return tokenizer.apply_chat_template(
        prompt.messages(), add_generation_prompt=True, return_dict=False
    )


class _FrequencyPenalty(LogitsProcessor):
    """Subtracts the penalty from a token's logit for each time that it was generated."""

    def __init__(self, penalty: float, prompt_length: int) -> None:
        self._penalty, self._prompt_length = penalty, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        generated = input_ids[:, self._prompt_length :]
        penalties = torch.full(generated.shape, -self._penalty).to(scores)
        return scores.scatter_add(-1, generated, penalties)


class _GumbelSampling(LogitsProcessor):
    """Adds Gumbel noise to the scores: the argmax is then a sample from their softmax."""

    def __init__(self, seeds: Sequence[int], sampling: TextSampling) -> None:
        self._generators = [torch.Generator().manual_seed(seed % _SEEDS) for seed in seeds]
        self._sampling = sampling

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.float() / self._sampling.temperature
        if self._sampling.top_p < 1.0:
            scores = _nucleus(scores, self._sampling.top_p)
        size = scores.shape[-1]
        uniform = torch.stack([torch.rand(size, generator=one) for one in self._generators])
        tiny = torch.finfo(torch.float32).tiny
        exponential = (-torch.log(uniform.clamp(min=tiny))).clamp(min=tiny)
        return scores - torch.log(exponential).to(scores.device)


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Mask all tokens except the most likely ones that together reach the probability `top_p`.

    Args:
        scores: [batch, vocabulary] logits.
        top_p: in (0, 1).
    """
    ordered, order = scores.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    # The token that reaches `top_p` is kept.
    masked = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return scores.masked_fill(masked, -torch.inf)


def _context_length(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or 2**31)
