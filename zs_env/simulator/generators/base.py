"""What a simulator needs of a language model: text for a batch of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zs_env.search.types import SearchError


class GenerationError(SearchError):
    """A language model wrote nothing for a prompt, whatever was tried."""


class PromptRejected(GenerationError):
    """It lies with the prompt: too long for the model, refused, or answered with no text at all."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is asked to write.

    Attributes:
        text: the user's message.
        system: the system message. None sends none, so that a chat template may add its own; ""
            sends an empty one, which keeps it from doing so.
        seed: 63-bit seed of the sampling.
    """

    text: str
    system: str | None
    seed: int

    def messages(self) -> list[dict[str, str]]:
        """Return it as chat messages, of the roles "system", where there is one, and "user"."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.text}]


@dataclass(frozen=True, slots=True)
class Completion:
    """What it wrote, and what that cost.

    Attributes:
        text: without the prompt.
        prompt_tokens: read; 0 where the model does not say.
        completion_tokens: written; 0 where the model does not say.
        cut: whether it ended at the limit of tokens, not by itself.
        calls: model calls made for it, those that failed included.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut: bool = False
    calls: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSampling:
    """How text is drawn from a language model.

    Attributes:
        temperature: 0 takes the likeliest token, greater draws; at most 2.
        top_p: share in (0, 1] of the probability that is drawn from, the likeliest tokens first.
        frequency_penalty: taken off a token's logit for each time that it was written already, as
            OpenAI's interface defines it; in [-2, 2]. Small models repeat documents without it.
        max_tokens: longest text.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    frequency_penalty: float = 0.0
    max_tokens: int = 600

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature lies in [0, 2], got {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p lies in (0, 1], got {self.top_p}")
        if not -2.0 <= self.frequency_penalty <= 2.0:
            raise ValueError(f"frequency_penalty lies in [-2, 2], got {self.frequency_penalty}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")


class TextGenerator(Protocol):
    """Writes for a batch of prompts.

    Attributes:
        fingerprint: all that decides what it writes for a prompt: model, sampling.

    A generator may also have `close()`, `local` (bool, True where it only computes and so cannot
    hang), and `generate_stream(prompts, take)`, which calls `take` with each prompt's number and text
    once it is written, so that pages are checked while others are still awaited.
    """

    fingerprint: str

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[Completion | GenerationError]:
        """Return one text per prompt in the same order, or what kept it from being written."""
        ...
