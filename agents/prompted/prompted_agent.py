"""The agent that plays a method with a language model, many episodes at a time.

A prompt that the model cannot write for, because it is too long for it or is answered with nothing,
fails the episode: its agent answers "unknown" and its thought says why. A model that cannot be
reached ends the run, because the episodes it would fail say nothing about the method; those played
before are kept, and the same command goes on with the rest.
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
    GenerationError,
    Prompt,
    PromptRejected,
    TextGenerator,
)
from zs_env.text.hashing import derive_seed


class PromptedAgent:
    """Acts as a method says, with the texts of a generator.

    What it does follows from the observation and the seed alone.

    Args:
        method: what the model is asked.
        generator: the model.
        seed: of the model's sampling; nothing changes with it where the temperature is 0.

    Attributes:
        prompt: these agents put their own prompts around the question, so the environment's can
            be short.
    """

    prompt = "bare"

    def __init__(self, method: Method, generator: TextGenerator, *, seed: int = 0) -> None:
        self.method, self.generator, self.seed = method, generator, seed

    @property
    def fingerprint(self) -> str:
        """Changes with the method, its settings and prompts, the model, its sampling, the seed."""
        written = f"{self.method!r}\0{self.seed}\0{self.generator.fingerprint}\0{_source_digest()}"
        return blake2b(written.encode(), digest_size=8).hexdigest()

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the next turn's text."""
        return self.act_batch([observation])[0]

    def act_batch(
        self, observations: Sequence[Mapping[str, Any]], infos: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Return the next turn's text of each of several episodes.

        Raises:
            ConnectionError: if the model wrote nothing for a reason that is not the prompt's.
        """
        steps: list[Step] = [self.method.step(observation) for observation in observations]
        texts_per_turn = 0
        while asked := [place for place, step in enumerate(steps) if isinstance(step, Ask)]:
            asks = [step for step in steps if isinstance(step, Ask)]
            prompts = [
                self._prompt(ask, observations[place], texts_per_turn)
                for place, ask in zip(asked, asks, strict=True)
            ]
            for place, ask, written in zip(asked, asks, self._write(prompts), strict=True):
                steps[place] = _next(ask, written)
            texts_per_turn += 1
        return [step for step in steps if isinstance(step, str)]

    def _prompt(self, ask: Ask, observation: Mapping[str, Any], number: int) -> Prompt:
        seed = derive_seed(f"{self.seed}\0{observation['transcript']}\0{number}")
        return Prompt(ask.prompt, None, seed)

    def _write(self, prompts: Sequence[Prompt]) -> Sequence[Completion | GenerationError]:
        written = self.generator.generate(prompts)
        if len(written) != len(prompts):
            raise ValueError(
                f"the generator gave {len(written)} texts for {len(prompts)} prompts; a generator gives "
                "one for each, or a GenerationError in its place"
            )
        return written


def _next(ask: Ask, written: Completion | GenerationError) -> Step:
    if isinstance(written, Completion):
        return ask.then(written.text)
    if isinstance(written, PromptRejected):
        return answer_turn(None, f"The language model wrote nothing: {written}")
    raise ConnectionError(
        f"the language model wrote nothing: {written}; see that it runs, then give the same "
        "command again, which goes on where this one stopped"
    ) from written


def _source_digest() -> str:
    """Prompts and the reading of answers are source code of this package."""
    digest = blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
