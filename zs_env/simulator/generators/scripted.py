"""A generator that says what it is told: for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zs_env.simulator.generators.base import Completion, GenerationError, Prompt


class ScriptedTextGenerator:
    """Writes what a function says.

    Args:
        script: from a prompt to a text, a `Completion` or a `GenerationError`.
        fingerprint: part of a cache's key; pass one that changes with what the function says.
    """

    local = True

    def __init__(
        self,
        script: Callable[[Prompt], str | Completion | GenerationError],
        *,
        fingerprint: str | None = None,
    ) -> None:
        self._script = script
        self.fingerprint = fingerprint or f"scripted:{getattr(script, '__qualname__', script)}"

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion | GenerationError]:
        """Return one text per prompt."""
        return [self._as_completion(self._script(prompt)) for prompt in prompts]

    def _as_completion(
        self, said: str | Completion | GenerationError
    ) -> Completion | GenerationError:
        # Words stand in for tokens.
        return (
            Completion(said, completion_tokens=len(said.split())) if isinstance(said, str) else said
        )
