"""A generator in this process, on transformers: no server to start, for small models and for tests.

The one module of the environment that needs torch; it is imported when such a generator is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

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

from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Prompt,
    PromptRejected,
    TextSampling,
)

_SEEDS = 2**63
_EDGE = 2**20  # bytes at each end of a weights file that its digest reads


class TransformersTextGenerator:
    """Writes with a causal language model in batches.

    Every prompt draws from a random generator of its own, seeded with its own seed, so what it gets
    does not depend on the batch that it is written in, up to the rounding of padded rows.

    Args:
        model: a model, or a folder or hub name of one in Hugging Face format.
        tokenizer: the model's, where `model` is a model.
        sampling: how text is drawn.
        batch_size: prompts written at a time.
        dtype: of the weights when they are loaded, such as "bfloat16".
        device: where the model runs, such as "cpu" or "cuda".

    Raises:
        ValueError: if a model comes without its tokenizer, or `batch_size` is below 1.
    """

    local = True

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
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
            self.model.to(device).eval()
            digest = f"{model}:{_digest(Path(model))}:{dtype}"
        self.tokenizer: Any = tokenizer
        self.fingerprint = f"transformers-1:{digest}:{self.sampling}"

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> list[Completion | GenerationError]:
        """Return one text per prompt; one whose prompt is too long for the model is an error."""
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        written: dict[int, Completion | GenerationError] = {}
        room = _context_length(self.model.config) - self.sampling.max_tokens
        for place, ids in enumerate(encoded):
            if len(ids) > room:
                written[place] = PromptRejected(
                    f"a prompt of {len(ids)} tokens and a text of {self.sampling.max_tokens} do "
                    f"not fit into the model's {room + self.sampling.max_tokens}; lower max_tokens"
                )
        # Prompts of like length share a batch, which wastes least on padding.
        order = sorted(set(range(len(prompts))) - set(written), key=lambda n: len(encoded[n]))
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            batch = [encoded[place] for place in places]
            seeds = [prompts[place].seed for place in places]
            written.update(zip(places, self._generate(batch, seeds), strict=True))
        return [written[place] for place in range(len(prompts))]

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
            processors.append(_SeededDraw(seeds, self.sampling))
        output = self.model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(mask, device=device),
            # The draw is in the processor, so that each row has its own luck.
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
        end = next((place for place, token in enumerate(ids) if token in stops), None)
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        written = len(ids) if end is None else end + 1
        return Completion(text, prompt_tokens, written, cut=end is None)

    def _stop_ids(self) -> list[int]:
        stop = self.model.generation_config.eos_token_id
        stops = list(stop) if isinstance(stop, list) else [stop]
        stops = [*stops, self.tokenizer.eos_token_id]
        return list(dict.fromkeys(token for token in stops if token is not None)) or [0]


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Return the ids that a model reads: those that a server's chat interface would give it."""
    if not getattr(tokenizer, "chat_template", None):
        system = f"{prompt.system}\n\n" if prompt.system else ""
        return tokenizer.encode(system + prompt.text)
    return tokenizer.apply_chat_template(
        prompt.messages(), add_generation_prompt=True, return_dict=False
    )


class _FrequencyPenalty(LogitsProcessor):
    """Takes a penalty off each token's logit for every time that it stands behind the prompt."""

    def __init__(self, penalty: float, prompt_length: int) -> None:
        self._penalty, self._prompt_length = penalty, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        written = input_ids[:, self._prompt_length :]
        return scores.scatter_add(-1, written, torch.full(written.shape, -self._penalty).to(scores))


class _SeededDraw(LogitsProcessor):
    """Adds Gumbel noise, so that the likeliest token of what remains is a draw from the softmax."""

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
    """Rule out all tokens but the likeliest that together have the probability `top_p`.

    Args:
        scores: [batch, vocabulary] logits.
        top_p: in (0, 1).
    """
    ordered, order = scores.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    # The first token to reach the share still belongs to it.
    ruled_out = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return scores.masked_fill(ruled_out, -torch.inf)


def _context_length(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or 2**31)


def _digest(folder: Path) -> str:
    """Tell apart the weights that may lie under one name; "" for a name on the hub."""
    digest = blake2b(digest_size=8)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE))
            file.seek(max(size - _EDGE, 0))
            digest.update(file.read(_EDGE))
    return digest.hexdigest() if files else ""
