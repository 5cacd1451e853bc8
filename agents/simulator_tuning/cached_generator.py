"""A text generator that stores its texts, so that a stopped stage resumes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.storage.output_folder import truncate_lines, whole_lines
from zs_env.simulator.generators.base import (
    Completion,
    Output,
    Prompt,
    TextGenerator,
    generate_checked,
)


class CachedTextGenerator(TextGenerator):
    """Generates only texts that are not in the file. Failed prompts are not stored.

    Args:
        generator: the generator of new texts.
        path: JSONL file in an existing folder, one line per text. A truncated last line is
            dropped; lines of a generator with another fingerprint are ignored.
        fresh: delete the file first.
    """

    def __init__(self, generator: TextGenerator, path: Path, *, fresh: bool = False) -> None:
        self.generator = generator
        self.fingerprint = generator.fingerprint
        self.in_process, self.deadline_s = generator.in_process, generator.deadline_s
        if self.fingerprint is None:
            raise ValueError("the generator has no fingerprint, so its texts cannot be stored")
        if fresh:
            path.unlink(missing_ok=True)
        self._path = path
        self._stored: dict[Prompt, Completion] = {}
        lines = whole_lines(path)
        truncate_lines(path, len(lines))
        for row in map(json.loads, lines):
            if row["fingerprint"] == self.fingerprint:
                prompt = Prompt(row["prompt"], row["system"], row["seed"])
                self._stored[prompt] = Completion(**row["completion"])

    def generate(self, prompts: Sequence[Prompt]) -> list[Output]:
        """Return one output per prompt, from the file or from the generator."""
        missing = [prompt for prompt in prompts if prompt not in self._stored]
        outputs = generate_checked(self.generator, missing)
        generated = dict(zip(missing, outputs, strict=True))
        new = {prompt: one for prompt, one in generated.items() if isinstance(one, Completion)}
        with open(self._path, "a", encoding="utf-8") as file:
            for prompt, completion in new.items():
                row = {"fingerprint": self.fingerprint, "prompt": prompt.text}
                row |= {"system": prompt.system, "seed": prompt.seed}
                file.write(json.dumps(row | {"completion": asdict(completion)}) + "\n")
        self._stored |= new
        return [self._stored.get(prompt) or generated[prompt] for prompt in prompts]

    def close(self) -> None:
        self.generator.close()
