"""The token ids and the mask of an episode, with the tokenizer of the tiny policy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from benchmarks.adapters.episodes import Played, Script

MAX_TOKENS = 16384  # more tokens than any episode has


def with_tokens(script: Script, played: Played) -> Played:
    """Add the ids and the mask of an episode whose messages are known."""
    from agents.llm.policy.stopping import StopRule

    codec = policy_codec()
    stop_rule = StopRule(replace(codec, tools=script.tools))
    prompt, *messages = played.messages or ()
    ids = list(codec.encode_prompt(prompt))
    mask = [False] * len(ids)
    for text, message in zip(script.texts, messages, strict=False):
        turn, _ = stop_rule.cut(turn_ids(text))
        page = codec.encode_environment(message) if message else ()
        ids += [*turn, *page]
        mask += [True] * len(turn) + [False] * len(page)
    return replace(played, token_ids=tuple(ids), mask=tuple(mask))


def turn_ids(text: str) -> tuple[int, ...]:
    """Return the ids that a policy samples for a text: without an action, up to its stop token."""
    codec = policy_codec()
    return (*codec.encode_environment(text), min(codec.stop_token_ids))


@cache
def policy_codec() -> Any:
    """Return the codec of the tiny policy's tokenizer."""
    from transformers import AutoTokenizer

    from agents.llm.policy.location import TINY_POLICY
    from agents.llm.policy.text_codec import TextCodec

    return TextCodec(AutoTokenizer.from_pretrained(TINY_POLICY), name="tiny")
