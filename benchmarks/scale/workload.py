"""Models and rollouts of a chosen size: what `model_scale` measures with."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast as FastTokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from agents.llm.generators.base import GenerationRequest, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy, load_policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A Qwen2's dimensions, as its config.json has them; the output layer is the embedding."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocabulary: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Episodes:
    """What an update's episodes look like: prompt, then turns with a page between any two.

    Attributes:
        prompts: groups.
        members: episodes of each.
        prompt_ids: tokens of a prompt; turn_ids and page_ids likewise.
        turns: that the policy writes.
    """

    prompts: int
    members: int
    prompt_ids: int
    turn_ids: int
    page_ids: int
    turns: int

    def first_ids(self, policy: Policy) -> list[list[int]]:
        """Random ordinary ids, equal for the members of a group."""
        rng = random.Random(0)
        groups = [rng.choices(_ordinary(policy), k=self.prompt_ids) for _ in range(self.prompts)]
        return [list(group) for group in groups for _ in range(self.members)]

    def page(self, policy: Policy) -> list[int]:
        """Random ordinary ids."""
        return random.Random(1).choices(_ordinary(policy), k=self.page_ids)


def make_policy(source: Path | Shape, *, device: str, dtype: torch.dtype) -> Policy:
    """A policy whose turns end at their length alone: a folder's or .gguf file's, or random."""
    if isinstance(source, Shape):
        policy = _random_policy(source, device)
    else:
        policy = load_policy(source.resolve(), device=device)
    # As a run's copy for rollouts: buffers (rotary frequencies) stay as they are.
    for weight in policy.model.parameters():
        weight.data = weight.data.to(dtype)
    policy.codec.__dict__["stop_token_ids"] = frozenset()
    return policy


def play(policy: Policy, episodes: Episodes) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of writing every episode, and what was written as `rollout_files` has it."""
    generator, page = TransformersGenerator(policy), episodes.page(policy)
    rollouts = [_begun(one) for one in episodes.first_ids(policy)]
    started = time.perf_counter()
    for turn in range(episodes.turns):
        requests = [
            GenerationRequest(session=n, token_ids=r["prompt_ids"] + r["completion_ids"], seed=n)
            for n, r in enumerate(rollouts)
        ]
        written = generate(generator, requests, Sampling(max_new_tokens=episodes.turn_ids))
        for rollout, one in zip(rollouts, written, strict=True):
            _extend(rollout, one.token_ids, one.logprobs)
            if turn + 1 < episodes.turns:
                _extend(rollout, page)
    seconds = time.perf_counter() - started
    generator.close()
    return seconds, rollouts


def ragged_groups(policy: Policy, episodes: Episodes) -> list[list[dict[str, Any]]]:
    """Groups of random ids, of which one is right; each part is half to one and a half as long.

    Their log-probabilities are still to be filled in.
    """
    rng, ordinary = random.Random(2), _ordinary(policy)

    def ids(usual: int) -> list[int]:
        return rng.choices(ordinary, k=max(1, round(usual * (0.5 + rng.random()))))

    groups = []
    for _ in range(episodes.prompts):
        prompt_ids, group = ids(episodes.prompt_ids), []
        for member in range(episodes.members):
            rollout = _begun(prompt_ids)
            for turn in range(episodes.turns):
                if turn:
                    _extend(rollout, ids(episodes.page_ids))
                written = ids(episodes.turn_ids)
                _extend(rollout, written, [0.0] * len(written))
            group.append(rollout | {"reward": float(member == 0)})
        groups.append(group)
    return groups


@torch.no_grad()
def play_with_generate(policy: Policy, episodes: Episodes) -> float:
    """Seconds of the same by transformers' `generate`, which reads all of an episode each turn."""
    model: Any = policy.model
    ids_BT = torch.tensor(episodes.first_ids(policy), device=model.device)
    page_BT = torch.tensor([episodes.page(policy)] * len(ids_BT), device=model.device)
    started = time.perf_counter()
    for turn in range(episodes.turns):
        if turn:
            ids_BT = torch.cat([ids_BT, page_BT], dim=1)
        ids_BT = _generate(
            model, ids_BT, policy.codec.pad_token_id, episodes.turn_ids, do_sample=True
        )
    ids_BT.tolist()  # waits for the device
    return time.perf_counter() - started


def share_written_alike(policy: Policy, episodes: Episodes, tokens: int = 4) -> float:
    """How many of the first ids both write greedily are the same, in [0, 1]."""
    ids = episodes.first_ids(policy)
    requests = [GenerationRequest(session=n, token_ids=one) for n, one in enumerate(ids)]
    greedy = Sampling(max_new_tokens=tokens, temperature=0.0)
    ours = generate(TransformersGenerator(policy), requests, greedy)
    ids_BT = torch.tensor(ids, device=policy.model.device)
    theirs_BT = _generate(policy.model, ids_BT, policy.codec.pad_token_id, tokens, do_sample=False)
    pairs = zip(ours, theirs_BT[:, episodes.prompt_ids :].tolist(), strict=True)
    same = [a == b for one, row in pairs for a, b in zip(one.token_ids, row, strict=True)]
    return sum(same) / len(same)


@torch.no_grad()
def _generate(model: Any, ids_BT: Tensor, pad: int, tokens: int, *, do_sample: bool) -> Tensor:
    drawing = {"top_k": 0, "top_p": 1.0, "temperature": 1.0} if do_sample else {}
    return model.generate(
        ids_BT,
        attention_mask=torch.ones_like(ids_BT),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        pad_token_id=pad,
        do_sample=do_sample,
        **drawing,
    )


def _begun(prompt_ids: list[int]) -> dict[str, Any]:
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [],
        "action_mask": [],
        "logprobs": [],
        "reward": 0.0,
    }


def _extend(
    rollout: dict[str, Any], ids: Sequence[int], logprobs: Sequence[float] | None = None
) -> None:
    rollout["completion_ids"] += list(ids)
    rollout["action_mask"] += [int(logprobs is not None)] * len(ids)
    rollout["logprobs"] += list(logprobs or [0.0] * len(ids))


def _ordinary(policy: Policy) -> list[int]:
    return [i for i in range(len(policy.tokenizer)) if i not in policy.codec.control_token_ids]


def _random_policy(shape: Shape, device: str) -> Policy:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.device(device):
        model = Qwen2ForCausalLM(config).eval()
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(shape.vocabulary)}))
    tokenizer = FastTokenizer(tokenizer_object=words, pad_token="w0", eos_token="w2")
    return Policy(model, tokenizer, name="random")
