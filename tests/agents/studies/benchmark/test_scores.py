"""Scores and comparisons computed by hand."""

from dataclasses import replace

import pytest

from agents.evaluation.statistics import bootstrap_interval
from agents.studies.benchmark.config import AVERAGE
from agents.studies.benchmark.scores import METRICS, Result, compare_all, question_means, score_all
from zs_env import Answer, Malformed, Question, Search, Transcript
from zs_env.transcripts.transcript import Turn


def _result(question, f1, *, agent="x", set_name="nq", repeat=0, failure=None, malformed=0):
    return Result(
        agent=agent, set=set_name, repeat=repeat, index=0, question_id=question, prediction="p",
        reward=f1, exact_match=float(f1 == 1), cover_match=f1, substring_match=f1, f1=f1,
        searches=2, turns=4, malformed=malformed, reason="failure" if failure else "answer",
        failure=failure,
    )  # fmt: skip


def _score(results, set_name="nq", agent="x"):
    (score,) = [one for one in score_all(results) if (one.agent, one.set) == (agent, set_name)]
    return score


def test_repeats_of_a_question_are_averaged_before_anything_else():
    results = [_result("a", 1.0), _result("b", 0.0), _result("a", 0.5, repeat=1),
               _result("b", 0.5, repeat=1)]  # fmt: skip
    score = _score(results)
    assert (score.questions, score.episodes) == (2, 4)
    assert score.metrics["f1"] == bootstrap_interval([0.75, 0.25])
    assert score.metrics["exact_match"].mean == 0.25


def test_failures_are_excluded_and_their_questions_use_the_other_repeats():
    results = [
        _result("a", 1.0),
        _result("a", 0.0, repeat=1, failure="down"),
        _result("b", 0.5),
        _result("b", 0.0, repeat=1),
        _result("c", 0.0, failure="down"),
        _result("c", 0.0, repeat=1, failure="down"),
    ]
    score = _score(results)
    assert (score.questions, score.episodes, score.failures, score.failed_questions) == (3, 6, 3, 1)
    assert score.metrics["f1"].mean == pytest.approx((1.0 + 0.25) / 2)


def test_sets_have_equal_weights_in_the_average():
    results = [_result(f"a{n}", 1.0) for n in range(9)]
    results += [_result("b", 0.0, set_name="mine")]
    average = _score(results, AVERAGE)
    assert (average.metrics["f1"].mean, average.questions) == (0.5, 10)
    # Resampling within constant sets has no effect.
    assert average.metrics["f1"].low == average.metrics["f1"].high == 0.5


def test_equal_ids_in_two_sets_are_two_questions():
    results = [_result("a", 1.0), _result("a", 0.0, set_name="mine")]
    assert _score(results).metrics["f1"].mean == 1.0
    assert _score(results, AVERAGE).metrics["f1"].mean == 0.5


def test_a_set_with_failures_only_has_no_score():
    results = [_result("a", 1.0), _result("b", 0.0, set_name="mine", failure="down")]
    assert _score(results, "mine").metrics["f1"].mean is None
    assert _score(results, AVERAGE).metrics["f1"].mean is None
    assert _score(results, AVERAGE).failures == 1


def test_malformed_actions_are_a_share_of_the_turns():
    score = _score([_result("a", 1.0, malformed=1), _result("b", 1.0, malformed=2)])
    assert score.metrics["malformed_share"].mean == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert set(score.metrics) == set(METRICS)


def test_agents_are_compared_on_shared_questions():
    mine = [
        _result("a", 1.0, agent="y"),
        _result("b", 0.5, agent="y"),
        _result("c", 1.0, agent="y"),
    ]
    theirs = [_result("a", 0.5), _result("b", 0.5), _result("c", 0.0, failure="down")]
    on_set, average = compare_all([*theirs, *mine])
    assert (on_set.agent, on_set.other, on_set.set, average.set) == ("y", "x", "nq", AVERAGE)
    assert (on_set.questions, on_set.pairs) == (3, 2)
    assert on_set.metrics["f1"].difference.mean == pytest.approx((0.5 + 0.0) / 2)
    # The only pair with a difference has it under either sign.
    assert on_set.metrics["f1"].p_value == 1.0
    assert average.metrics == on_set.metrics


def test_sets_have_equal_weights_in_a_comparison():
    results = []
    for agent, f1 in (("x", 0.0), ("y", 1.0)):
        results += [_result(f"q{n}", f1, agent=agent) for n in range(30)]
        results += [_result(f"q{n}", 0.5, agent=agent, set_name="mine") for n in range(2)]
    *_, average = compare_all(results)
    assert average.metrics["f1"].difference.mean == 0.5
    assert average.metrics["f1"].p_value == pytest.approx(1 / 10_001)
    assert (average.questions, average.pairs) == (32, 32)


def test_every_two_agents_are_compared_once():
    results = [_result("a", 1.0, agent=agent) for agent in "xyz"]
    pairs = {(one.agent, one.other) for one in compare_all(results)}
    assert pairs == {("y", "x"), ("z", "x"), ("z", "y")}


def test_pairs_do_not_depend_on_the_order_of_questions():
    some = [_result(question, f1) for question, f1 in (("a", 0.0), ("b", 1.0))]
    others = [replace(one, agent="y") for one in some[::-1]]
    assert compare_all([*some, *others])[0].metrics["f1"].difference.low == 0.0


def _transcript(*actions, answers=("Paris",), reason="answer"):
    return Transcript(
        question=Question(id="q", text="?", answers=answers),
        prompt="?",
        turns=tuple(Turn("", action) for action in actions),
        reason=reason,
    )


def _scored(transcript, *, repeat=0, **settings):
    return Result.from_transcript(0, transcript, agent="x", set="nq", repeat=repeat, **settings)


def test_a_result_is_read_from_its_transcript():
    result = _scored(_transcript(Malformed("empty"), Answer("in Parisian Paris")), repeat=2)
    assert (result.agent, result.set, result.repeat, result.question_id) == ("x", "nq", 2, "q")
    assert (result.exact_match, result.cover_match, result.substring_match) == (0.0, 1.0, 1.0)
    assert result.f1 == pytest.approx(2 * 1 / (3 + 1))
    assert (result.turns, result.malformed, result.answered) == (2, 1, 1.0)
    assert _scored(_transcript(Answer("Parisian"))).substring_match == 1.0
    town = _transcript(Answer("北京市"), answers=("北京",))
    characters = _scored(town, f1_tokens="characters")
    assert characters.f1 == pytest.approx(0.8)


def test_no_answer_scores_zero_even_if_the_gold_normalises_to_nothing():
    unanswered = _transcript(Search("x"), answers=("The The",), reason="turn_limit")
    result = _scored(unanswered)
    assert question_means([result])["q"]["substring_match"] == 0.0
    assert result.answered == result.exact_match == 0.0
