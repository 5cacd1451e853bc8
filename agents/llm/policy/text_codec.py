"""Encoding and decoding of text.

Text that the model did not generate never becomes a control token: only the frame of the prompt
comes from the chat template, everything else is encoded with control tokens split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from transformers import PreTrainedTokenizerBase

from zs_env.text.sanitize import sanitize

_PLACEHOLDER = "MESSAGEGOESHERE"


@dataclass(frozen=True, eq=False)
class TextCodec:
    """Encodes prompts and observations, and decodes turns.

    Attributes:
        tokenizer: its chat template is used if it has one.
        name: name of the model, for error messages.
        model_stop_ids: ids that end a turn according to the model's configuration, in addition to
            those of the tokenizer.
    """

    tokenizer: PreTrainedTokenizerBase
    name: str = ""
    model_stop_ids: tuple[int, ...] = ()

    def encode_prompt(self, message: str) -> tuple[int, ...]:
        """Encode the first message as a user turn, followed by the start of the policy's turn."""
        before, after = self._prompt_frame
        return before + self.encode_environment(message) + after

    def encode_environment(self, text: str) -> tuple[int, ...]:
        """Encode text of the environment, without control tokens."""
        return self.encode_environments([text])[0]

    def encode_environments(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encode several environment texts separately."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows = [tuple(ids) for ids in encoded["input_ids"]]
        if spoofed := self.control_token_ids.intersection(chain.from_iterable(rows)):
            raise ValueError(
                f"the tokenizer of {self.name!r} encodes environment text as its control tokens "
                f"{sorted(map(self.decode_one, spoofed))}; give these roles to tokens that no text "
                "contains"
            )
        return rows

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decode ids to text, including control tokens."""
        return str(
            self.tokenizer.decode(
                list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def decode_one(self, token_id: int) -> str:
        """Decode one id."""
        return self.decode([token_id])

    def decode_action(self, token_ids: Sequence[int]) -> str:
        """Decode a turn without the stop token at its end."""
        ends = bool(token_ids) and token_ids[-1] in self.stop_token_ids
        return self.decode(token_ids[:-1] if ends else token_ids)

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a turn."""
        return frozenset(as_ids(self.tokenizer.eos_token_id) + self.model_stop_ids)

    @cached_property
    def pad_token_id(self) -> int:
        """Padding id; it often equals a stop token, so no mask may depend on it."""
        pad = as_ids(self.tokenizer.pad_token_id)
        return pad[0] if pad else min(self.stop_token_ids, default=0)

    @cached_property
    def control_token_ids(self) -> frozenset[int]:
        """Ids that only the chat template and the policy may produce.

        The unknown token is excluded, unless it begins a text or ends a turn. Ordinary pieces of
        text, such as "!" or a line break, are excluded whatever role they have.
        """
        tokenizer = self.tokenizer
        added = tokenizer.added_tokens_decoder.items()
        special = {token_id for token_id, token in added if token.special}
        purposes = {*as_ids(tokenizer.bos_token_id), *self.stop_token_ids}
        unknown = set(as_ids(tokenizer.unk_token_id))
        control = special | set(tokenizer.all_special_ids) | {self.pad_token_id} | purposes
        control -= unknown - purposes
        return frozenset(token_id for token_id in control if not self._is_ordinary(token_id))

    def _is_ordinary(self, token_id: int) -> bool:
        """Whether a token is a piece of ordinary text, which documents may contain."""
        text = self.decode_one(token_id)
        if not text or sanitize(text) != text:
            return False
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return as_ids(encoded["input_ids"]) == (token_id,)

    @cached_property
    def _prompt_frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids before and after the first message of the prompt."""
        tokenizer = self.tokenizer
        if not tokenizer.chat_template:
            added = as_ids(tokenizer("")["input_ids"])
            return tuple(i for i in added[:1] if i in as_ids(tokenizer.bos_token_id)), ()
        rendered = str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": _PLACEHOLDER}],
                tokenize=False,
                add_generation_prompt=True,
            )
        )
        pieces = rendered.split(_PLACEHOLDER)
        if len(pieces) != 2:
            raise ValueError(
                f"the chat template of {self.name!r} shows the user's message {len(pieces) - 1} "
                "times, expected once; set tokenizer.chat_template to one that shows it once"
            )
        before, after = (
            as_ids(tokenizer(piece, add_special_tokens=False)["input_ids"]) for piece in pieces
        )
        return before, after


def as_ids(value: Any) -> tuple[int, ...]:
    """Convert None, one id or several ids, as configurations hold them, to a tuple."""
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)
