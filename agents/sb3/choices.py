"""The choices of one turn: queries and answers taken from the text, with features for a network.

`DiscreteSearchView` is the environment of texts with numbered choices and numeric observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, SupportsInt
from zlib import crc32

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.sb3.evidence import Evidence, Name, read_evidence
from zs_env.env import ZeroSearchEnv
from zs_env.text.sanitize import sanitize

_MAX_QUERY_CHARS = 1024
_VERBS = ("are", "is", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could")
_NUM_BUCKETS = 64
NUM_EPISODE_FEATURES = 4 + _NUM_BUCKETS
NUM_CHOICE_FEATURES = 26

Vector = NDArray[np.float32]


class Limits(NamedTuple):
    """Numbers of choices; an agent must be played with the limits that it was trained with."""

    max_turns: int = 6  # the last one has to be an answer
    num_queries: int = 10  # the question included
    num_answers: int = 8

    @property
    def num_features(self) -> int:
        """Length of an encoded observation."""
        return NUM_EPISODE_FEATURES + (self.num_queries + self.num_answers) * NUM_CHOICE_FEATURES


class _Choice(NamedTuple):
    """A search or answer: its text, the name in it, and the number of the phrase in it."""

    tag: str
    text: str
    name: Name
    phrase: int | None = None

    @property
    def distance(self) -> int:
        """Parts of the question between the phrase and what the name covers; 9 at most."""
        covered = self.name.covered if self.phrase is not None else ()
        return min([9, *(abs(part - (self.phrase or 0)) - 1 for part in covered)])


def find_choices(observation: Mapping[str, Any], limits: Limits) -> tuple[list[str], Vector]:
    """Return the actions of a turn and their features, from the question and the transcript alone.

    Queries have the first numbers, then answers; an empty choice searches for the question. The
    features are [num_features] numbers in [0, 1]: those of the episode, then those of each choice,
    which begin with two flags, for a query and for an answer, and are 0 for an empty choice.
    """
    question = observation["question"]
    evidence = read_evidence(question, observation["transcript"])
    searches = evidence.queries.total()
    turns_left = limits.max_turns - searches
    itself = _Choice("search", sanitize(question)[:_MAX_QUERY_CHARS], Name(""))
    queries = [itself, *_queries(evidence)][: limits.num_queries if turns_left > 1 else 0]
    answers = _answers(question, evidence)[: limits.num_answers]
    actions = [f"<search>{itself.text}</search>"] * (limits.num_queries + limits.num_answers)
    rows = np.zeros((len(actions), NUM_CHOICE_FEATURES), dtype=np.float32)
    for number, choice in [*enumerate(queries), *enumerate(answers, start=limits.num_queries)]:
        actions[number] = f"<{choice.tag}>{choice.text}</{choice.tag}>"
        rows[number] = _features(choice, evidence)
    progress = [turns_left / limits.max_turns, turns_left <= 1, turns_left == 2, searches == 0]
    episode = np.array([*progress, *_hash_words(question)], dtype=np.float32)
    return actions, np.concatenate([episode, rows.reshape(-1)])


def _queries(evidence: Evidence) -> list[_Choice]:
    """Return names with phrases that they do not cover, the nearest in the question first."""
    queries = [
        _Choice("search", f"{part.text} {name.text}", name, phrase)
        for name in evidence.names.values()
        if not name.text[0].isdigit()
        for phrase, part in enumerate(evidence.parts)
        if not part.is_name and phrase not in name.covered
    ]
    return sorted(queries, key=lambda q: (q.distance, -len(q.name.covered), -q.name.documents))


def _answers(question: str, evidence: Evidence) -> list[_Choice]:
    """Return yes and no if the question begins with a verb, then names, the best covered first."""
    fixed = [Name("yes"), Name("no")] if question.split(" ")[0].lower() in _VERBS else []
    names = list(evidence.names.values())
    names.sort(key=lambda name: (-len(name.covered), -name.overlap, -name.documents))
    return [_Choice("answer", name.text, name) for name in fixed + names]


def _features(choice: _Choice, evidence: Evidence) -> list[float]:
    tag, text, name, phrase = choice
    asked = {number for number, part in enumerate(evidence.parts) if part.is_name}
    first_phrase = next((n for n, part in enumerate(evidence.parts) if not part.is_name), -1)
    return [
        tag == "search",
        tag == "answer",
        *_at_least(evidence.queries[text], 3),
        name.in_question,
        text[:1].isdigit(),
        text == "yes",
        text == "no",
        min(text.count(" "), 4) / 4,
        len(name.covered) / max(len(evidence.parts), 1),
        bool(name.covered) and name.covered >= asked,
        len(name.covered & asked) > 1,
        first_phrase in name.covered,
        first_phrase == phrase,
        *_at_least(choice.distance, 3),
        name.overlap,
        *_at_least(name.documents, 3),
        *_at_least(name.facts - name.facts_after, 2),
        *_at_least(name.facts_after, 1),
        0 <= name.page == evidence.queries.total() - 1,
    ]


def _at_least(count: int, most: int) -> list[float]:
    """Return `most` flags, the first `count` of them 1."""
    return [float(count > number) for number in range(most)]


@lru_cache(maxsize=4096)
def _hash_words(text: str) -> Vector:
    """Hash the words that are not names (Weinberger et al., "Feature Hashing", arXiv:0902.2206)."""
    words = (text[:1].lower() + text[1:]).split()
    buckets = np.zeros(_NUM_BUCKETS, dtype=np.float32)
    buckets[[crc32(word.encode()) % _NUM_BUCKETS for word in words if word.islower()]] = 1
    return buckets


class DiscreteSearchView(
    gymnasium.Wrapper[Any, Any, dict[str, Any], str], gymnasium.utils.RecordConstructorArgs
):
    """Shows the choices of a turn (see `find_choices`) as numbers, and takes the number of one.

    An episode ends as in the environment, except that the turn limit terminates it: the turns left
    are observed, and no value may be bootstrapped after the last one.

    There are at most `num_queries` queries, the question included, and `num_answers` answers.

    Raises:
        TypeError: if `env` is another environment.
    """

    def __init__(
        self,
        env: gymnasium.Env[dict[str, Any], str],
        num_queries: int = Limits().num_queries,
        num_answers: int = Limits().num_answers,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, num_queries=num_queries, num_answers=num_answers
        )
        gymnasium.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, ZeroSearchEnv):
            raise TypeError(f"DiscreteSearchView wraps a ZeroSearchEnv, got {inner}")
        self.limits = Limits(inner.config.max_turns, num_queries, num_answers)
        self.actions = [""] * (num_queries + num_answers)
        self.action_space = spaces.Discrete(len(self.actions))  # type: ignore[assignment]
        self.observation_space = spaces.Box(0.0, 1.0, (self.limits.num_features,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Start an episode; `options` are the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.actions, features = find_choices(observation, self.limits)
        return features, info

    def step(self, action: SupportsInt) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Take the choice with this number."""
        text = self.actions[int(action)]
        observation, reward, terminated, truncated, info = self.env.step(text)
        if info.get("reason") == "turn_limit":
            terminated, truncated = True, False
        self.actions, features = find_choices(observation, self.limits)
        return features, float(reward), terminated, truncated, info
