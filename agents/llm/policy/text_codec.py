"""Encoding and decoding of text.

Text that the model did not generate never becomes a control token: only the text around messages
comes from the chat template, everything else is encoded with control tokens split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from transformers import PreTrainedTokenizerBase

from agents.llm.policy.tool_calls import ToolTemplate
from agents.llm.policy.turn_format import Frame, Frames, TurnFormat, find_frames
from zs_env.actions import DEFAULT_TOOLS, Tool
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
        turn_format: how turns and observations are written, see `turn_format`.
        tools: tools of the agent, which the turn format "tools" shows as functions.

    Raises:
        ValueError: if the turn format needs another chat template.
    """

    tokenizer: PreTrainedTokenizerBase
    name: str = ""
    model_stop_ids: tuple[int, ...] = ()
    turn_format: TurnFormat = "inline"
    tools: tuple[Tool, ...] = DEFAULT_TOOLS

    def __post_init__(self) -> None:
        if self.turn_format != "inline":
            _ = self._frames

    def encode_prompt(self, message: str) -> tuple[int, ...]:
        """Encode the first message as a user turn, followed by the start of the policy's turn."""
        if self.turn_format != "inline":
            frame = self._frames.prompt
            return self._template_ids(frame.before) + self._encode_framed(frame, [message])[0]
        before, after = self._prompt_frame
        return before + self.encode_environment(message) + after

    def encode_observations(
        self, messages: Sequence[str], turns: Sequence[Sequence[int]]
    ) -> list[tuple[int, ...]]:
        """Encode a message after each turn, up to the start of the policy's next turn.

        Args:
            messages: pages and notices.
            turns: ids of the turns before them. After a turn that ends with a stop token, the chat
                template's own end of a turn is left out.
        """
        if self.turn_format == "inline":
            return self.encode_environments(messages)
        end, start = self._between_turns
        encoded = self._encode_framed(self._frames.message, messages)
        return [
            (() if turn and turn[-1] in self.stop_token_ids else end) + start + ids
            for turn, ids in zip(turns, encoded, strict=True)
        ]

    def encode_action(self, text: str) -> tuple[int, ...]:
        """Encode a turn with tags, such as one of a teacher, as the policy writes it."""
        if self.turn_format != "tools":
            return self.encode_environment(text)
        written = self._tools.write(text)
        ids = self.encode_environment(written)
        if written == text or self._tools.has_closing_tag:
            return ids
        end, _ = self._between_turns
        return (*ids, *end[-1:])

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

    def decode_turn(self, token_ids: Sequence[int]) -> str:
        """Decode a turn without the stop token at its end."""
        ends = bool(token_ids) and token_ids[-1] in self.stop_token_ids
        return self.decode(token_ids[:-1] if ends else token_ids)

    def decode_action(self, token_ids: Sequence[int]) -> str:
        """Decode a turn as an action of the environment: a function call becomes a search."""
        text = self.decode_turn(token_ids)
        return self._tools.to_action(text) if self.turn_format == "tools" else text

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
        before, after = map(self._template_ids, pieces)
        return before, after

    @cached_property
    def _tools(self) -> ToolTemplate:
        return ToolTemplate(self.tokenizer, self.tools)

    @cached_property
    def _frames(self) -> Frames:
        """Frames of the turn formats other than "inline"."""
        tokenizer = self.tokenizer
        if not tokenizer.chat_template:
            raise ValueError(
                f"the turn format {self.turn_format!r} needs a chat template, which the tokenizer "
                f"of {self.name!r} does not have; use the turn format 'inline'"
            )

        def render(messages: Any) -> str:
            if self.turn_format == "tools":
                return self._tools.render(messages)
            return str(
                tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            )

        control = map(self.decode_one, self.control_token_ids)
        try:
            return find_frames(render, self.turn_format, [text for text in control if text])
        except Exception as error:  # templates raise what they like
            raise ValueError(
                f"the chat template of {self.name!r} does not support the turn format "
                f"{self.turn_format!r}: {error}; use 'inline', or another tokenizer.chat_template"
            ) from error

    @cached_property
    def _between_turns(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of the template's end of a turn, up to its stop token, and of the text after it."""
        ids = self._template_ids(self._frames.message.before)
        stops = (place for place, one in enumerate(ids, start=1) if one in self.stop_token_ids)
        end = next(stops, 0)
        return ids[:end], ids[end:]

    def _template_ids(self, text: str) -> tuple[int, ...]:
        """Encode text of the chat template, with control tokens."""
        return as_ids(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _encode_framed(self, frame: Frame, messages: Sequence[str]) -> list[tuple[int, ...]]:
        """Encode messages and what follows them, without `Frame.before`."""
        after = self._template_ids(frame.after)
        encoded = self.encode_environments([frame.fill(message) for message in messages])
        return [ids + after for ids in encoded]


def as_ids(value: Any) -> tuple[int, ...]:
    """Convert None, one id or several ids, as configurations hold them, to a tuple."""
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)
