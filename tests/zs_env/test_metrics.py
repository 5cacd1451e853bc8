"""Scores, computed by hand and compared with an independent implementation."""

import gzip
import json
import string
from itertools import groupby, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED_DATA
from zs_env.metrics import (
    contains_answer,
    exact_match,
    f1_score,
    normalize_answer,
    rouge_l,
    substring_match,
)
from zs_env.questions.question import Question

_DATA = SHARED_DATA / "eval"


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        # The example of the package rouge-score: "the quick brown jumps the" is common to both.
        (
            "The quick brown dog jumps on the log.",
            ("The quick brown fox jumps over the lazy dog",),
            2 * 5 / (8 + 9),
        ),
        ("b a", ("a b",), 2 * 1 / (2 + 2)),  # the order counts
        ("a_b-c", ("A, B! c",), 1.0),
        ("x y", ("p q", "x"), 2 * 1 / (2 + 1)),  # the better gold answer
        ("东京 都", ("东京",), 2 * 2 / (3 + 2)),  # each character is a word
        ("?", ("!",), 0.0),
        ("?!", ("?!",), 0.0),  # no words
        ("", ("",), 0.0),
        ("", ("a",), 0.0),
        (" \n", ("a", ""), 0.0),
        ("東京は首都です。", ("首都は東京。",), 2 * 2 / (7 + 5)),  # 東京 or 首都, in order
        ("Paris 2024年", ("paris 2024 年",), 1.0),
        ("x", (), 0.0),
    ],
)
def test_rouge_l_by_hand(prediction, answers, score):
    assert rouge_l(prediction, answers) == pytest.approx(score)


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_rouge_l_is_that_of_the_usual_table(first, second):
    lengths = {}
    for i in range(len(first) + 1):
        for j in range(len(second) + 1):
            if not i or not j:
                lengths[i, j] = 0
            elif first[i - 1] == second[j - 1]:
                lengths[i, j] = lengths[i - 1, j - 1] + 1
            else:
                lengths[i, j] = max(lengths[i - 1, j], lengths[i, j - 1])
    both = len(first) + len(second)
    expected = 2 * lengths[len(first), len(second)] / both if both else 0.0
    assert rouge_l(" ".join(first), " ".join(second)) == pytest.approx(expected)


def test_normalisation_drops_case_punctuation_articles_and_spaces():
    assert normalize_answer("  The  Cat's, an   A-team! ") == "cats ateam"
    assert normalize_answer("Theatre another area") == "theatre another area"


@pytest.mark.parametrize(
    ("prediction", "answers", "f1"),
    [
        ("Paris", ("Paris",), 1.0),
        ("in Paris", ("Paris",), 2 / 3),  # precision 1/2, recall 1
        ("Paris France", ("the capital Paris",), 0.5),  # 2 * 1 / (2 + 2)
        ("a b b c", ("b b d",), 4 / 6),  # "a" is an article: 2 * 2 / (3 + 3)
        ("London", ("Paris",), 0.0),
        ("London", ("Paris", "London"), 1.0),
        ("", ("",), 0.0),
        ("the", ("a",), 0.0),
        ("x", (), 0.0),
    ],
)
def test_f1_by_hand(prediction, answers, f1):
    assert f1_score(prediction, answers) == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "answers", "f1"),
    [
        ("北京市", ("北京",), 0.8),  # 2 * 2 / (3 + 2)
        ("東京、大阪。", ("東京 大阪",), 1.0),  # neither punctuation nor spaces count
        ("上海", ("北京", "上海市"), 0.8),
        ("上海", ("北京",), 0.0),
        ("。", ("、",), 0.0),
    ],
)
def test_f1_of_characters_by_hand(prediction, answers, f1):
    assert f1_score(prediction, answers, tokens="characters") == pytest.approx(f1, abs=1e-12)


def test_exact_match_is_equality_after_normalisation():
    assert exact_match("The Beatles!", ("beatles",))
    assert not exact_match("Beatles band", ("beatles",))
    assert not exact_match("", ("the",))


def test_an_answer_is_contained_as_whole_words_only():
    assert contains_answer("It was in November, Ann said.", ("ann",))
    assert not contains_answer("It was in November", ("no",))
    assert not contains_answer("anything", ("", "the"))
    assert contains_answer("the U.S.A. won", ("usa",))


def test_substring_match_finds_no_in_november():
    assert substring_match("November", ("no",))


def _second_tokens(text: str) -> list[str]:
    """Tokens after SQuAD normalisation, by a scan over runs of word characters."""
    kept = [c for c in text.lower() if c not in set(string.punctuation)]
    runs = ["".join(run) for _, run in groupby(kept, key=lambda c: c.isalnum() or c == "_")]
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def _kept_tokens(text: str) -> list[str]:
    """Tokens of a text, or, if none is left, its words in lower case."""
    return _second_tokens(text) or text.lower().split()


def _second_f1(prediction: str, answers: list[str]) -> float:
    best = 0.0
    for gold in answers:
        left, right = _kept_tokens(prediction), _kept_tokens(gold)
        common = sum(min(left.count(token), right.count(token)) for token in set(left))
        if common:
            precision, recall = common / len(left), common / len(right)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def _assert_equal_scores(prediction: str, answers: list[str]) -> None:
    assert f1_score(prediction, answers) == pytest.approx(_second_f1(prediction, answers))
    golds = [_second_tokens(gold) for gold in answers]
    assert exact_match(prediction, answers) == (
        _kept_tokens(prediction) in map(_kept_tokens, answers)
    )
    answers = [answer for answer, gold in zip(answers, golds, strict=True) if gold]
    spaced = f" {' '.join(_second_tokens(prediction))} "
    contained = any(gold and f" {' '.join(gold)} " in spaced for gold in golds)
    assert contains_answer(prediction, answers) == contained


_WORDS = st.sampled_from(["the", "A", "an", "cat", "Cat's", "dog", "-", "é", "a\u0301", "İ", "_"])
# Characters of Thai and of East Asian scripts are words; see text/test_unspaced.py.
_SPACED = st.characters(max_codepoint=0xE00)
_TEXTS = st.one_of(st.text(_SPACED, max_size=30), st.lists(_WORDS, max_size=8).map(" ".join))


@settings(max_examples=500)
@given(_TEXTS, st.lists(_TEXTS, max_size=3))
def test_scores_equal_a_second_scorer_on_random_unicode(prediction, answers):
    _assert_equal_scores(prediction, answers)


def test_scores_equal_a_second_scorer_on_real_answers():
    if not _DATA.is_dir():
        pytest.skip(f"real questions are not at {_DATA}")
    for path in sorted(_DATA.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            # Lines of JSON escape nothing, so this leaves out aliases in East Asian scripts.
            spaced = (line for line in lines if max(line) < "\u0e00")
            rows = [json.loads(line) for line in islice(spaced, 300)]
        for row, following in pairwise(rows):
            _assert_equal_scores(row["answers"][-1], row["answers"])
            _assert_equal_scores(row["question"], row["answers"])
            _assert_equal_scores(f"The {row['answers'][0]} thing", following["answers"])


def test_a_string_is_one_answer():
    assert not exact_match("P", "Paris") and exact_match("paris.", "Paris")
    assert f1_score("r", "Paris") == 0.0 and f1_score("Paris France", "Paris") == 2 / 3
    assert not contains_answer("a part of it", "Paris") and contains_answer("In Paris.", "Paris")
    assert not substring_match("P", "Paris") and substring_match("parisian", "Paris")
    assert Question(id="q", text="Q?", answers="Paris").answers == ("Paris",)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got the answer 3 of question 'q'"):
        Question(id="q", text="Q?", answers=(3,))  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", ["The The", "A", "!!!", "&", "the", "+-*/"])
def test_an_answer_of_articles_and_punctuation_is_compared_as_it_is(answer):
    assert exact_match(answer, [answer]) and f1_score(answer, [answer]) == 1.0
    for other in ("an", "???", "...", "an an", ""):
        assert not exact_match(other, [answer]) and f1_score(other, [answer]) == 0.0


def test_answers_of_articles_and_punctuation_are_found_with_case_and_punctuation():
    text = "The band is called The The and the grade was A, by !!! and &."
    assert all(contains_answer(text, [answer]) for answer in ("The The", "A", "!!!", "&"))
    text = "The band is called a name and the grade, was it (good)!"
    answers = ["The The", "A", "!!!", "&", "(", "the", "a"]
    assert not any(contains_answer(text, [answer]) for answer in answers)
