"""The versions of the robustness suite: worlds, questions, kinds and levels of noise, and the seed.

A version never changes. Other values, and other pages of the engines, need a new version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zs_env.noise import NOISE_KINDS, NoiseKind
from zs_env.prompts import PROMPTS

CORPUS = "corpus"
# The line that --allow-abstain adds to a prompt, above the question.
ABSTENTION = (
    "If you do not find the answer, write <answer>unknown</answer> instead of a guess. A wrong "
    "answer is worse than this one.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessSpec:
    """One version of the suite.

    Attributes:
        version: name of the version.
        worlds: seeds of held-out worlds.
        questions_per_world: the first questions of each world are played.
        corpus_questions: the first questions of a user's question file are played.
        kinds: kinds of noise.
        levels: noise probabilities of a search, in increasing order, starting at 0.
        seed: of every random choice.
    """

    version: str
    worlds: tuple[int, ...]
    questions_per_world: int
    corpus_questions: int
    kinds: tuple[NoiseKind, ...]
    levels: tuple[float, ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


LATEST = RobustnessSpec(
    version="robustness-v1",
    worlds=(101, 102),
    questions_per_world=64,
    corpus_questions=128,
    kinds=NOISE_KINDS,
    levels=(0.0, 0.25, 0.5, 0.75, 1.0),
    seed=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """Questions and their engine.

    Attributes:
        name: such as "world-101", or "corpus".
        env_kwargs: arguments of the environment, JSON values.
        episodes: the first questions are played, one episode each.
    """

    name: str
    env_kwargs: dict[str, Any]
    episodes: int

    @property
    def group(self) -> str:
        """Where the set belongs in tables: "worlds" or "corpus"."""
        return CORPUS if self.name == CORPUS else "worlds"


def world_sets(spec: RobustnessSpec, episodes: int | None = None) -> list[QuestionSet]:
    """Return the held-out worlds, with at most `episodes` questions each."""
    count = min(spec.questions_per_world, episodes or spec.questions_per_world)
    return [
        QuestionSet(
            name=f"world-{seed}",
            env_kwargs={
                "questions": {"kind": "world", "seed": seed, "split": "heldout"},
                "engine": {"kind": "world"},
            },
            episodes=count,
        )
        for seed in spec.worlds
    ]


def corpus_set(
    spec: RobustnessSpec, env_kwargs: dict[str, Any], episodes: int | None = None
) -> QuestionSet:
    """Return a user's questions and corpus engine, with at most `episodes` questions."""
    count = min(spec.corpus_questions, episodes or spec.corpus_questions)
    return QuestionSet(name=CORPUS, env_kwargs=env_kwargs, episodes=count)


def with_abstention(prompt: str | None) -> str:
    """Return a prompt with the line `ABSTENTION` above the line of the question.

    Args:
        prompt: a name of `PROMPTS`, the text of a prompt, or None for the environment's own.
    """
    name = prompt or "instruct"
    lines = (PROMPTS[name].text if name in PROMPTS else name).splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if "{question}" in line)
    return "".join([*lines[:place], ABSTENTION, *lines[place:]])
