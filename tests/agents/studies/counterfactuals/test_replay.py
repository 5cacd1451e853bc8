"""An episode that differs from its recording is an error with an explanation."""

from dataclasses import replace

import pytest

from agents.studies.counterfactuals.flip_pages import check_replay, check_replay_until
from zs_env.episode import Episode
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchPage

QUESTION = Question(id="q7", text="Who built it?", answers=("Ann",))


def _play(
    queries=("it", "them"), *, page="Ann did.", answer="Ann", seed=1, noise=0.0, flipped_turn=None
):
    episode = Episode(QUESTION, seed=seed, noise_probability=noise, flipped_turn=flipped_turn)
    for query in queries:
        episode.act(f"<search>{query}</search>")
        episode.receive(SearchPage((Document(page),)))
    episode.act(f"<answer>{answer}</answer>")
    return episode.transcript()


def test_the_same_episode_is_accepted():
    check_replay(_play(), _play())
    check_replay_until(_play(), _play(flipped_turn=1), 1)
    # Turns after the flipped page may differ.
    check_replay_until(_play(), _play(("it", "another", "more"), answer="Bob", flipped_turn=0), 0)


@pytest.mark.parametrize(
    ("replayed", "reason"),
    [
        (_play(("it", "others")), "at turn 1 the agent wrote '<search>others</search>', recorded"),
        (_play(("it",)), "at turn 1 the agent wrote '<answer>Ann</answer>'"),
        (_play(page="Bob did."), "another page at turn 0 .* wrap it in a cache"),
        (_play(seed=2), "the search of turn 0 is SearchRequest"),
        (replace(_play(), prompt="Other words"), "question or prompt differs"),
        (replace(_play(), turns=_play().turns[:2]), "takes 2 turns, recorded 3"),
        (replace(_play(), reward_terms=(("f1", 0.25),)), "reward is .*0.25.*recorded .*1.0"),
        (replace(_play(), max_turns=9), "rules or its seed differ"),
    ],
)
def test_the_first_difference_is_explained(replayed, reason):
    with pytest.raises(ValueError, match=f"question 'q7' is not replayed.*{reason}"):
        check_replay(_play(), replayed)


def test_an_engine_failure_during_the_replay_is_reported():
    episode = Episode(QUESTION, seed=1)
    episode.act("<search>it</search>")
    episode.fail("down")
    with pytest.raises(ValueError, match="no page at turn 0; run the command again"):
        check_replay(_play(), episode.transcript())
    with pytest.raises(ValueError, match="no page at turn 0; run the command again"):
        check_replay_until(_play(), episode.transcript(), 1)


@pytest.mark.parametrize(
    ("flipped", "reason"),
    [
        (_play(("him", "them"), flipped_turn=1), "at turn 0 the agent wrote"),
        (_play(("it", "others"), flipped_turn=1), "at turn 1 the agent wrote"),
        (_play(), "turn 1 did not request the opposite"),
        (replace(_play(), turns=_play().turns[:1]), "ended before turn 1"),
    ],
)
def test_the_turns_before_a_flipped_page_must_be_as_recorded(flipped, reason):
    with pytest.raises(ValueError, match=f"before its flipped page.*{reason}"):
        check_replay_until(_play(), flipped, 1)
