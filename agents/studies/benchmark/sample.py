"""Which questions are asked: chosen by a hash of their ids, written down, and played by everybody.

The choice depends on no order of rows and no random generator, so the same set gives the same
sample anywhere; a smaller sample is the beginning of a larger one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from zs_env.questions.question import Question, QuestionDataset
from zs_env.text.hashing import stable_hash

MOST_QUESTIONS = 1_000_000  # a source beyond this makes its questions up as it goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The questions of one set that are asked.

    Attributes:
        ids: in the order they are played in.
        digest: of ids, texts and gold answers; None where a file written by hand gives ids alone.
    """

    ids: tuple[str, ...]
    digest: str | None = None

    @classmethod
    def draw(cls, questions: QuestionDataset, size: int | None, *, seed: int) -> Self:
        """Choose `size` questions, or all where None or where there are fewer.

        Raises:
            ValueError: if the source has no end, or `size` is below 1.
        """
        if size is not None and size < 1:
            raise ValueError(f"questions per set must be at least 1, got {size}")
        if len(questions) > MOST_QUESTIONS:
            raise ValueError(
                f"a set of {len(questions)} questions cannot be sampled, expected at most "
                f"{MOST_QUESTIONS}; write the ones to be asked into a file"
            )
        everything = [questions[index] for index in range(len(questions))]
        everything.sort(key=lambda question: (stable_hash(f"{seed}\0{question.id}"), question.id))
        return cls.of(everything[:size])

    @classmethod
    def of(cls, questions: Iterable[Question]) -> Self:
        """Describe the given questions."""
        chosen = list(questions)
        digest = blake2b(digest_size=8)
        for question in chosen:
            row = [question.id, question.text, *question.answers]
            digest.update(json.dumps(row).encode() + b"\n")
        return cls(ids=tuple(question.id for question in chosen), digest=digest.hexdigest())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"digest": self.digest, "ids": list(self.ids)}


def write_samples(path: Path, samples: Mapping[str, Sample]) -> None:
    """Write the samples by their sets' names, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    value = {name: sample.to_json() for name, sample in samples.items()}
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_samples(path: Path) -> dict[str, Sample]:
    """Read what `write_samples` wrote; a set may also be a plain list of ids.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another form, naming the set.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the sample.json of a benchmark")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected a benchmark's sample") from error
    if not isinstance(value, dict):
        raise ValueError(f'{path} holds no object {{"nq": {{"ids": [...]}}, ...}}')
    return {name: _sample_from_json(one, f"{path}, set {name!r}") for name, one in value.items()}


def _sample_from_json(value: Any, where: str) -> Sample:
    if isinstance(value, list):
        value = {"ids": value}
    ids = value.get("ids") if isinstance(value, dict) else None
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise ValueError(f"{where}: expected a list of question ids, or an object that holds one")
    return Sample(ids=tuple(ids), digest=value.get("digest"))
