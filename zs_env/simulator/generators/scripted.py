"""A generator that calls a function for each prompt: for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Output,
    Prompt,
    TextGenerator,
)


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
