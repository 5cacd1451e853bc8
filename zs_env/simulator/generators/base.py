"""The base class of text generators: language models that complete a batch of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.search.engine import adapt
from zs_env.search.types import SearchError

# What `as_generator` takes over from an object that is not a TextGenerator.
_ADAPTED = (
    "generate",
    "generate_stream",
    "in_process",
    "thread_safe",
    "deadline_s",
    "fingerprint",
    "close",
)


class GenerationError(SearchError):
    """A language model generated no text for a prompt."""


class PromptRejected(GenerationError):
    """The prompt caused the failure: it is too long, or was refused."""


class NoResponse(GenerationError):
    """The model returned nothing, or nothing but thinking."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of one generation.

    Attributes:
        text: the user's message.
        system: the system message. None sends none, so a chat template may add its own; ""
            sends an empty one, which prevents that.
        seed: 63-bit seed of the sampling.
    """

    text: str
    system: str | None
    seed: int

    def messages(self) -> list[dict[str, str]]:
        """Return chat messages with the roles "system" (unless it is None) and "user"."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.text}]


@dataclass(frozen=True, slots=True)
class Completion:
    """A generated text and its cost.

    Attributes:
        text: without the prompt.
        prompt_tokens: tokens of the prompt; 0 if unknown.
        completion_tokens: generated tokens; 0 if unknown.
        cut: whether generation stopped at the token limit.
        calls: model calls made for this text, failed ones included.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut: bool = False
    calls: int = 1


Output = Completion | GenerationError


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSampling:
    """Sampling parameters.

    Attributes:
        temperature: in [0, 2]; 0 is greedy.
        top_p: nucleus sampling: probability mass of the most likely tokens, in (0, 1].
        frequency_penalty: subtracted from a token's logit for each time the token was generated
            already, as in OpenAI's API; in [-2, 2]. Small models repeat documents without it.
        max_tokens: maximum number of generated tokens.
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


class TextGenerator:
    """Generates one text per prompt. A subclass defines `generate`; the rest has a default.

    Attributes:
        in_process: whether the generator only computes. An engine on top of it is then called
            without a deadline.
        thread_safe: whether several threads may call it at the same time.
        deadline_s: longest time, in seconds, for a batch by its own settings; None if there are
            none. It must not exceed the deadline of an environment that uses it.
        fingerprint: identifies the model and its sampling; part of cache keys. Pages of a generator
            without one cannot be cached.
    """

    in_process: bool = False
    thread_safe: bool = False
    deadline_s: float | None = None
    fingerprint: str | None = None

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[Output]:
        """Return one completion, or a GenerationError, per prompt, in the same order."""
        raise NotImplementedError(f"{type(self).__name__} must define generate(prompts)")

    def generate_stream(
        self, prompts: Sequence[Prompt], callback: Callable[[int, Output], None]
    ) -> None:
        """Call `callback(index, output)` for each prompt when its output is complete."""
        for index, output in enumerate(generate_checked(self, prompts)):
            callback(index, output)

    def close(self) -> None:
        """Release what the generator holds: connections, threads."""


class ScriptedTextGenerator(TextGenerator):
    """Generates what a function returns.

    Args:
        script: returns a text, a `Completion` or a `GenerationError` for a prompt. Tokens of a
            plain text are counted as words.
        fingerprint: part of cache keys; it should change with the function's results. The default
            is the function's name.
    """

    in_process = True

    def __init__(
        self,
        script: Callable[[Prompt], str | Completion | GenerationError],
        *,
        fingerprint: str | None = None,
    ) -> None:
        self._script = script
        self.fingerprint = fingerprint or f"scripted:{getattr(script, '__qualname__', script)}"

    def generate(self, prompts: Sequence[Prompt]) -> list[Output]:
        """Return the function's result for each prompt."""
        results = map(self._script, prompts)
        return [
            Completion(one, completion_tokens=len(one.split())) if isinstance(one, str) else one
            for one in results
        ]


def as_generator(generator: Any) -> TextGenerator:
    """Return `generator` as a TextGenerator; a plain object is adapted.

    Raises:
        TypeError: if it has no method `generate`.
    """
    if isinstance(generator, TextGenerator):
        return generator
    if not callable(getattr(generator, "generate", None)):
        raise TypeError(
            "expected a text generator with a method generate(prompts) -> list of Completion, "
            f"got {generator!r}"
        )
    return adapt(generator, TextGenerator(), _ADAPTED)


def generate_checked(generator: TextGenerator, prompts: Sequence[Prompt]) -> Sequence[Output]:
    """Call a generator and check that it returns one output per prompt.

    Raises:
        GenerationError: if it does not.
    """
    outputs = generator.generate(prompts)
    if len(outputs) != len(prompts):
        raise GenerationError(
            f"the generator returned {len(outputs)} texts for {len(prompts)} prompts; expected one "
            "text, or a GenerationError in its place, per prompt"
        )
    return outputs


def weight_fingerprints(model: str) -> list[str]:
    """Return the fingerprints of the files of weights in a model's folder; [] for a hub name."""
    folder = Path(model)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return list(map(file_fingerprint, files))
