"""Scores compared with an implementation of the SQuAD v1.1 definitions on 50,000 real pairs.

Definitions: an answer is normalized to lower case without ASCII punctuation and the articles a, an
and the, with single spaces. F1 is the harmonic mean of precision and recall of the bags of tokens,
and 0 without a common token. Exact match is equality. Each score is the best over all gold answers.
For F1 and exact match, an answer of which nothing would be left is kept in lower case.
"""

import gzip
import json
import random
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from tests.paths import SHARED_DATA
from zs_env.metrics import contains_answer, exact_match, f1_score, substring_match

_DATA = SHARED_DATA / "eval"
_SETS = ("nq", "triviaqa", "popqa", "hotpotqa", "2wikimultihopqa", "musique", "bamboogle")
_NUM_PAIRS = 50_000
# Answers that are empty, or nearly empty, after normalization.
_BARE = ["The The", "!!!", "a", "An.", "", " ", "the-the", "...a...", "?", "The Who", "A-ha", "no"]


@cache
def _tokens(text: str) -> tuple[str, ...]:
    """Tokens of the normalised text, by one pass over its characters."""
    pieces, word = [], ""
    for char in text.lower() + " ":
        if char in string.punctuation:
            continue  # deleted, so that what stood on both sides of it is one word
        if char.isalnum():
            word += char
            continue
        # Whatever else, such as a dash that is not ASCII or a combining mark, ends the word for the
        # articles' sake; only white space ends the token.
        pieces += [" " if word in ("a", "an", "the") else word, char]
        word = ""
    return tuple("".join(pieces).split())


def _words(text: str) -> tuple[str, ...]:
    return _tokens(text) or tuple(text.lower().split())


def _f1(prediction: str, golds: list[str]) -> float:
    def one(gold: str) -> float:
        mine, theirs = Counter(_words(prediction)), Counter(_words(gold))
        shared = sum((mine & theirs).values())
        if shared == 0:
            return 0.0
        precision, recall = shared / sum(mine.values()), shared / sum(theirs.values())
        return 2 * precision * recall / (precision + recall)

    return max(map(one, golds))


def _exact(prediction: str, golds: list[str]) -> bool:
    return any(_words(prediction) == _words(gold) for gold in golds)


def _cover(prediction: str, golds: list[str]) -> bool:
    """Whether the tokens of a gold, at least one, follow each other in those of the prediction."""
    words = _tokens(prediction)
    return any(
        gold and any(words[start : start + len(gold)] == gold for start in range(len(words)))
        for gold in map(_tokens, golds)
    )


def _substring(prediction: str, golds: list[str]) -> bool:
    return any(" ".join(_tokens(gold)) in " ".join(_tokens(prediction)) for gold in golds)


def _perturbed(gold: str, rng: random.Random, other: str) -> str:
    """One of the ways in which a prediction stands to a gold answer."""
    words = gold.split()
    at = rng.randrange(len(words) + 1)
    return rng.choice(
        [
            gold,
            " ".join(words[:at]),
            " ".join(words[at:]),
            f"The {gold}.",
            f'"{gold.upper()}", an a the',
            " ".join(f"{word}{rng.choice(string.punctuation)}" for word in words),
            f"It was {gold} in November, I think",
            " ".join(rng.sample(words, len(words))),
            f"{gold} {gold}",
            f"un{gold}s",
            f"{other} {gold}",
            other,
            rng.choice(_BARE),
            "\u00a0".join(words),
        ]
    )


def _pairs() -> Iterator[tuple[str, list[str]]]:
    """As many pairs of each set as of any other, as far as they reach; every tenth gold is bare."""
    rng = random.Random(0)
    sets = []
    for name in _SETS:
        (path,) = _DATA.glob(f"{name}.*.jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            sets.append([json.loads(line)["answers"] for line in lines])
    for number in range(_NUM_PAIRS):
        rows = sets[number % len(sets)]
        golds = list(rng.choice(rows))
        if number % 10 == 0:
            golds.insert(rng.randrange(len(golds) + 1), rng.choice(_BARE))
        if number % 50 == 0:
            golds = [rng.choice(_BARE)]
        prediction = _perturbed(rng.choice(golds), rng, rng.choice(rng.choice(rows)))
        # Thai and the scripts of East Asia, whose characters count as words.
        if not any(
            "\u0e00" <= one < "\u1e00" or one >= "\u2e80" for one in prediction + "".join(golds)
        ):
            yield prediction, golds


def _scores(prediction: str, golds: list[str]) -> tuple[float, bool, bool, bool]:
    return (
        f1_score(prediction, golds),
        exact_match(prediction, golds),
        contains_answer(prediction, list(filter(_tokens, golds))),
        substring_match(prediction, golds),
    )


def _second_scores(prediction: str, golds: list[str]) -> tuple[float, bool, bool, bool]:
    return (
        _f1(prediction, golds),
        _exact(prediction, golds),
        _cover(prediction, golds),
        _substring(prediction, golds),
    )


def _differences(pairs) -> list:
    return [
        (prediction, golds, ours, theirs)
        for prediction, golds in pairs
        if (ours := _scores(prediction, golds))
        != pytest.approx(theirs := _second_scores(prediction, golds), abs=1e-12)
    ]


def test_fifty_thousand_pairs_of_the_seven_sets_differ_nowhere():
    if not _DATA.is_dir():
        pytest.skip(f"real questions are not at {_DATA}")
    pairs = list(_pairs())
    assert len(pairs) > 0.98 * _NUM_PAIRS
    assert _differences(pairs) == []
    # The pairs tell the four scores apart: every pattern of hit and miss that can be is there.
    patterns = Counter((f1 > 0, *rest) for f1, *rest in (_second_scores(*pair) for pair in pairs))
    assert {
        (True, True, True, True),
        (True, False, True, True),  # covered, not equal
        (True, False, False, True),  # a common token, and inside another word
        (False, False, False, True),  # inside another word only
        (True, False, False, False),
        (False, True, False, True),  # both sides are empty
        (False, False, False, False),
    } <= set(patterns)
    assert min(patterns.values()) >= 5, patterns


@pytest.mark.parametrize("prediction", [*_BARE, "november", "The The band", "who"])
@pytest.mark.parametrize("gold", _BARE)
def test_golds_that_normalise_to_nothing_differ_nowhere(prediction, gold):
    assert _differences([(prediction, [gold]), (prediction, [gold, "The Who"])]) == []


@pytest.mark.parametrize(
    ("prediction", "gold", "scores"),
    [
        ("The The", "The The", (1.0, True, False, True)),
        ("the", "!!!", (0.0, False, False, True)),
        ("anything", "The The", (0.0, False, False, True)),
        ("", "Paris", (0.0, False, False, False)),
        ("in Paris", "Paris", (2 / 3, False, True, True)),
        ("Parisian", "Paris", (0.0, False, False, True)),
    ],
)
def test_cover_match_exact_match_and_substring_match_differ(prediction, gold, scores):
    assert _scores(prediction, [gold]) == pytest.approx(scores)
