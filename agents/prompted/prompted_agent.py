"""The agent that runs a method with a language model, for many episodes at a time.

If a prompt is rejected (too long, or answered with no text), the agent answers "unknown" and its
thought contains the reason. If the model fails for another reason, the run stops, because such
failures say nothing about the method. Finished episodes are kept, and the same command resumes the
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agents.prompted.method import Ask, Method, Step
from agents.prompted.turn_text import answer_turn
from zs_env.simulator.generators.base import (
    Completion,
    Output,
    Prompt,
    PromptRejected,
    TextGenerator,
    as_generator,
    generate_checked,
)
from zs_env.text.hashing import derive_seed


class PromptedAgent:
    """Runs a method with the completions of a generator.

    Its actions depend only on the observation and the seed.

    Args:
        method: builds the prompts and parses the completions.
        generator: the language model.
        seed: of the sampling; it has no effect at temperature 0.

    Attributes:
        prompt: name of the environment's prompt. It is short, because methods have their own.
    """

    prompt = "bare"

    def __init__(self, method: Method, generator: TextGenerator, *, seed: int = 0) -> None:
        self.method, self.seed = method, seed
        self.generator = as_generator(generator)

    @property
    def fingerprint(self) -> str:
        """Changes with method, settings, prompts, model, sampling and seed."""
        parts = (repr(self.method), self.seed, self.generator.fingerprint, _source_digest())
        return blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest()

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the next turn's text."""
        return self.act_batch([observation])[0]

    def act_batch(
        self, observations: Sequence[Mapping[str, Any]], infos: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Return the next turn's text of each of several episodes.

        Raises:
            ConnectionError: if the model fails, except for a rejected prompt.
        """
        steps: list[Step] = [self.method.step(observation) for observation in observations]
        num_asked = 0
        while asks := [(index, step) for index, step in enumerate(steps) if isinstance(step, Ask)]:
            prompts = [self._prompt(ask, observations[index], num_asked) for index, ask in asks]
            outputs = generate_checked(self.generator, prompts)
            for (index, ask), output in zip(asks, outputs, strict=True):
                steps[index] = _next(ask, output)
            num_asked += 1
        return [step for step in steps if isinstance(step, str)]

    def _prompt(self, ask: Ask, observation: Mapping[str, Any], number: int) -> Prompt:
        seed = derive_seed(f"{self.seed}\0{observation['transcript']}\0{number}")
        return Prompt(ask.prompt, None, seed)


def _next(ask: Ask, output: Output) -> Step:
    if isinstance(output, Completion):
        return ask.then(output.text)
    if isinstance(output, PromptRejected):
        return answer_turn(None, f"The language model generated no text: {output}")
    raise ConnectionError(
        f"the language model generated no text: {output}; check that it runs, then run the "
        "same command again to resume"
    ) from output


def _source_digest() -> str:
    """Return a digest of this package, whose source contains the prompts and the parsing."""
    digest = blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
