"""The questions of a benchmark: chosen by a hash of their ids and written to a file.

The choice depends neither on the order of the rows nor on a random generator: the same set gives
the same sample on every machine, and a smaller sample is a prefix of a larger one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from agents.storage.output_folder import atomic_path
from agents.studies.benchmark.config import BenchmarkConfig
from zs_env.config import build_questions
from zs_env.questions import questions_by_id
from zs_env.questions.question import Question, QuestionDataset, generates_questions
from zs_env.text.hashing import stable_hash

SAMPLE_FILE = "sample.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The sampled questions of one set.

    Attributes:
        digest: of ids, texts and gold answers; None if a file written by hand lists ids only.
        ids: in the order in which they are played.
    """

    digest: str | None = None
    ids: tuple[str, ...]

    @classmethod
    def draw(cls, questions: QuestionDataset, size: int | None, *, seed: int) -> Self:
        """Choose `size` questions; all if it is None or larger than the set.

        Raises:
            ValueError: if the set generates its questions, or `size` is below 1.
        """
        if size is not None and size < 1:
            raise ValueError(f"questions per set must be at least 1, got {size}")
        everything = all_questions(questions)
        everything.sort(key=lambda question: (stable_hash(f"{seed}\0{question.id}"), question.id))
        return cls.of(everything[:size])

    @classmethod
    def of(cls, questions: Iterable[Question]) -> Self:
        """Return the sample of the given questions."""
        chosen = list(questions)
        digest = blake2b(digest_size=8)
        for question in chosen:
            row = [question.id, question.text, *question.answers]
            digest.update(json.dumps(row).encode() + b"\n")
        return cls(digest=digest.hexdigest(), ids=tuple(question.id for question in chosen))


def all_questions(questions: QuestionDataset) -> list[Question]:
    """Return all questions of a set.

    Raises:
        ValueError: if the set generates its questions.
    """
    if generates_questions(questions):
        raise ValueError(
            f"a set that generates {len(questions):,} questions cannot be listed; write the "
            "questions to ask into a file"
        )
    return [questions[index] for index in range(len(questions))]


def choose_samples(
    config: BenchmarkConfig, sets: Mapping[str, Mapping[str, Any]], output: Path, *, started: bool
) -> dict[str, Sample]:
    """Choose the questions of each set, or read them from the given file, and write them down.

    If the benchmark has started, its folder contains episodes of the samples there.

    Raises:
        ValueError: if the folder contains another sample of a set, or the set contains other
            questions than those that the given file was made from.
    """
    given = {} if config.sample is None else read_samples(config.sample)
    path = output / SAMPLE_FILE
    earlier = read_samples(path) if started else {}
    samples = {}
    for name, spec in sets.items():
        sample = samples[name] = _choose(config, name, build_questions(spec), given)
        if earlier.get(name, sample) != sample:
            raise ValueError(
                f"{path} contains another sample of {name!r} ({len(earlier[name].ids)} questions, "
                f"now {len(sample.ids)} or other ones): the flags or the file of questions have "
                "changed; choose another --output, or start again with --fresh"
            )
    value = {name: asdict(sample) for name, sample in {**earlier, **samples}.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return samples


def _choose(
    config: BenchmarkConfig, name: str, questions: QuestionDataset, given: Mapping[str, Sample]
) -> Sample:
    if config.sample is None:
        return Sample.draw(questions, config.set_size, seed=config.sample_seed)
    if name not in given:
        raise ValueError(f"{config.sample} contains no sample of {name!r}, only of {sorted(given)}")
    sample = Sample.of(questions_by_id(questions, given[name].ids))
    if given[name].digest not in (None, sample.digest):
        raise ValueError(
            f"the questions of {name!r} have the ids of {config.sample}, but other texts or gold "
            "answers; load the set that the sample was made from"
        )
    return sample


def read_samples(path: Path) -> dict[str, Sample]:
    """Read the samples of a benchmark; a set may also be a plain list of ids.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another form; the message names the set.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the sample.json of a benchmark")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected a benchmark's sample") from error
    if not isinstance(value, dict):
        raise ValueError(f'{path} contains no object {{"nq": {{"ids": [...]}}, ...}}')
    samples = {}
    for name, one in value.items():
        fields = one if isinstance(one, dict) else {"ids": one}
        ids = fields.get("ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise ValueError(
                f"{path}, set {name!r}: expected a list of question ids, or an object with one"
            )
        samples[name] = Sample(digest=fields.get("digest"), ids=tuple(ids))
    return samples
