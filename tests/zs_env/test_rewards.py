"""Rewards, computed by hand for one transcript per outcome."""

import json
import pickle

import pytest

from zs_env.episode import Episode, EpisodeConfig
from zs_env.questions.question import Question
from zs_env.rewards import PRESETS, TERMS, Reward, answer_f1, build_reward
from zs_env.search.types import Document, SearchPage, SearchRequest

QUESTION = Question(id="q", text="Who built it?", answers=("Ann Lee",))
THINK = "<think>hm</think>"
SERVER = {"generator": {"kind": "server", "servers": "http://127.0.0.1:9"}}


def _play(*texts, hit=False, useful=None, max_turns=6):
    """Transcript of an episode in which the agent writes `texts`; pages hold gold if `hit`."""
    episode = Episode(QUESTION, config=EpisodeConfig(max_turns=max_turns, num_documents=1))
    document = Document(text="Ann Lee built it." if hit else "Nobody knows.", useful=useful)
    for text in texts:
        if isinstance(episode.act(text), SearchRequest):
            episode.receive(SearchPage((document,)))
    return episode.transcript()


SEARCHED = f"{THINK}<search>it</search>"
OUTCOMES = {
    "right": _play(SEARCHED, f"{THINK}<answer>Ann Lee</answer>", hit=True),
    "half": _play(SEARCHED, f"{THINK}<answer>Ann</answer>"),  # F1 = 2/3
    "wrong": _play(SEARCHED, f"{THINK}<answer>Bob</answer>"),
    "right, unsearched": _play(f"{THINK}<answer>Ann Lee</answer>"),
    "right, once malformed": _play("what?", SEARCHED, f"{THINK}<answer>Ann Lee</answer>"),
    "right, thoughtless": _play(SEARCHED, "<answer>Ann Lee</answer>"),
    "no answer": _play(SEARCHED, SEARCHED, max_turns=2),
}
# By the papers: F1 | exact match | 0.5 searched + 0.5 format | F1 - 2 where the format is broken |
# F1, or 0.1 where F1 is 0 and the format right | F1, or -1 where the format is broken |
# exact match + format | 0.8 exact match + 0.2 format. The format is right where the agent answered,
# nothing was malformed, and every action came after a closed <think>.
#            zerosearch search_r1 stage1 stage2 research deepresearcher r1 ssrl
EXPECTED = {
    "right": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0),
    "half": (2 / 3, 0.0, 1.0, 2 / 3, 2 / 3, 2 / 3, 1.0, 0.2),
    "wrong": (0.0, 0.0, 1.0, 0.0, 0.1, 0.0, 1.0, 0.2),
    "right, unsearched": (1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 2.0, 1.0),
    "right, once malformed": (1.0, 1.0, 0.5, -1.0, 1.0, -1.0, 1.0, 0.8),
    "right, thoughtless": (1.0, 1.0, 0.5, -1.0, 1.0, -1.0, 1.0, 0.8),
    "no answer": (0.0, 0.0, 0.5, -2.0, 0.0, -1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_preset_gives_its_value(outcome):
    values = [sum(build_reward(name)(OUTCOMES[outcome]).values()) for name in PRESETS]
    assert values == pytest.approx(EXPECTED[outcome])


def test_terms_by_hand():
    terms = {name: term(OUTCOMES["right"]) for name, term in TERMS.items()}
    assert terms == {
        "f1": 1, "exact_match": 1, "cover_match": 1, "answered": 1, "format": 1,
        "format_error": 0, "think_format": 1, "think_format_error": 0, "think_format_f1": 1,
        "think_format_only": 0, "malformed": 0, "retrieval": 1, "retrieval_hit": 1, "searches": 1,
        "rouge_l": 1, "judge": 0, "opens": 0,
    }  # fmt: skip
    assert TERMS["retrieval_hit"](OUTCOMES["half"]) == 0
    # A noisy page may name the answer of a comparison.
    assert TERMS["retrieval_hit"](_play(SEARCHED, hit=True, useful=False)) == 0
    assert TERMS["retrieval_hit"](_play(SEARCHED, hit=True, useful=True)) == 1
    assert TERMS["malformed"](OUTCOMES["right, once malformed"]) == 1
    assert TERMS["format"](OUTCOMES["right, thoughtless"]) == 1
    # The second search is the last allowed action: it is not sent and counts for nothing.
    assert TERMS["searches"](OUTCOMES["no answer"]) == 1


def test_terms_compose_and_each_keeps_its_name():
    reward = build_reward({"preset": "zerosearch", "terms": {"searches": -0.25, "malformed": -1}})
    assert reward(OUTCOMES["half"]) == pytest.approx(
        {"f1": 2 / 3, "searches": -0.25, "malformed": 0.0}
    )


def first_letter(transcript):
    """A user's own term."""
    return float(transcript.prediction.startswith("A"))


def test_a_term_may_be_a_function_of_a_user():
    name = f"{__name__}:first_letter"
    reward = build_reward({"terms": {"f1": 1, name: -0.5}})
    assert reward(OUTCOMES["right"]) == {"f1": 1.0, name: -0.5}
    assert build_reward(json.loads(json.dumps(reward.to_json()))) == reward
    with pytest.raises(ValueError, match="Did you mean 'first_letter'"):
        build_reward({"terms": {f"{__name__}:first_leter": 1}})
    with pytest.raises(ValueError, match="expected a function"):
        build_reward({"terms": {f"{__name__}:THINK": 1}})


def test_the_default_reward_is_the_zerosearch_preset():
    for transcript in OUTCOMES.values():
        assert answer_f1(transcript) == PRESETS["zerosearch"](transcript)


@pytest.mark.parametrize("name", PRESETS)
def test_a_reward_survives_json_and_pickle(name):
    reward = PRESETS[name]
    assert build_reward(json.loads(json.dumps(reward.to_json()))) == reward
    assert pickle.loads(pickle.dumps(reward)) == reward


@pytest.mark.parametrize(
    ("spec", "fix"),
    [
        ("zero_search", "Did you mean 'zerosearch'"),
        ({"terms": {"f2": 1}}, "Did you mean 'f1'"),
        ({"terms": {"f1": "1"}}, "a finite number"),
        ({"terms": {"f1": float("nan")}}, "finite"),
        ({"terms": {}}, "at least one term"),
        ({"weights": {"f1": 1}}, "'terms'"),
        ({"terms": ["f1"]}, "expected .name: weight"),
        ({}, "preset's name"),
        ({"preset": ["zerosearch"]}, "preset"),
        ({"terms": {"judge": 1}}, "a judge together"),
        ({"terms": {"f1": 1}, "judge": SERVER}, "a judge together"),
        ({"terms": {"judge": 1}, "judge": {"timeout_s": 3}}, "needs a 'generator'"),
        ({"terms": {"judge": 1}, "judge": {"generater": {}}}, "Did you mean 'generator'"),
    ],
)
def test_a_wrong_spec_says_what_was_expected(spec, fix):
    with pytest.raises(ValueError, match=fix):
        build_reward(spec)


def test_a_repeated_term_is_an_error():
    with pytest.raises(ValueError, match="only once"):
        Reward((("f1", 1.0), ("f1", 1.0)))


def test_a_function_of_a_user_returns_a_finite_number_or_a_truth_value(monkeypatch):
    right = OUTCOMES["right"]
    for number, value in enumerate((float("nan"), float("inf"), None, "1", [1.0])):
        # A name of its own, because a function is imported once.
        name = f"answer_{number}"
        monkeypatch.setattr(json, name, lambda transcript, value=value: value, raising=False)
        with pytest.raises(ValueError, match=f"'json:{name}' must be a finite number"):
            build_reward({"terms": {f"json:{name}": 0.5}})(right)
    assert build_reward({"terms": {"builtins:bool": 0.5}})(right) == {"builtins:bool": 0.5}
