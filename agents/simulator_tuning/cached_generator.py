"""A generator whose texts outlive the process, so that a report that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.storage.jsonl import truncate_lines, whole_lines
from zs_env.simulator.generators.base import Completion, GenerationError, Prompt, TextGenerator


class CachedTextGenerator:
    """Passes on to a generator what was not written yet; errors are asked for again.

    Args:
        generator: the model.
        path: a line for each text, in a folder that is there. One that a kill cut off is dropped,
            and so are those of a generator with another fingerprint.
    """

    def __init__(self, generator: TextGenerator, path: Path) -> None:
        self.generator = generator
        self.fingerprint = generator.fingerprint
        self.local = bool(getattr(generator, "local", False))
        self._path = path
        self._there: dict[tuple[str, str | None, int], Completion] = {}
        lines = whole_lines(path)
        truncate_lines(path, len(lines))
        for row in map(json.loads, lines):
            if row["fingerprint"] == self.fingerprint:
                key = (row["prompt"], row["system"], row["seed"])
                self._there[key] = Completion(**row["completion"])

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion | GenerationError]:
        """Return one text per prompt, those of the file without asking the model."""
        missing = [prompt for prompt in prompts if _key(prompt) not in self._there]
        written = dict(zip(map(_key, missing), self.generator.generate(missing), strict=True))
        fresh = {key: one for key, one in written.items() if isinstance(one, Completion)}
        with open(self._path, "a", encoding="utf-8") as file:
            for (text, system, seed), completion in fresh.items():
                row = {"fingerprint": self.fingerprint, "prompt": text, "system": system}
                file.write(
                    json.dumps(row | {"seed": seed, "completion": asdict(completion)}) + "\n"
                )
        self._there |= fresh
        return [self._there.get(_key(prompt)) or written[_key(prompt)] for prompt in prompts]

    def close(self) -> None:
        """Close the generator."""
        if callable(close := getattr(self.generator, "close", None)):
            close()


def _key(prompt: Prompt) -> tuple[str, str | None, int]:
    return prompt.text, prompt.system, prompt.seed
