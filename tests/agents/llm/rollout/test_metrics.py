"""Counts and means of a step's rollouts, by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

from agents.llm.rollout.metrics import rollout_metrics
from agents.llm.rollout.types import Group, Rollout, group_from_json, group_to_json
from zs_env import Document, Malformed, Search, SearchRequest
from zs_env.transcripts.transcript import Turn


def test_means_ignore_failed_episodes_and_count_them(
    make_rollout: Callable[..., Rollout],
) -> None:
    searched = make_rollout(2, 3, 4, 5, reward=1.0)
    page = (Document(text="noise", useful=False), Document(text="fact", useful=True))
    turns = (
        Turn("", Search("q"), documents=page),
        Turn("", Search("q"), documents=page[:1]),
        Turn("", Malformed("unclosed")),
    )
    searched = replace(searched, transcript=replace(searched.transcript, turns=turns))
    idle = make_rollout(2, 1, reward=0.5)
    failed = make_rollout(9, 9, failure="engine down")
    metrics = rollout_metrics([Group(rollouts=(searched, idle)), Group(rollouts=(failed,))])
    assert metrics["reward_mean"] == 0.75
    assert metrics["reward_std"] == 0.25
    assert metrics["turns_mean"] == 1.5
    assert metrics["useful_pages"] == 0.5
    assert metrics["tokens_mean"] == (14 + 3) / 2
    assert metrics["action_tokens_mean"] == (8 + 1) / 2
    assert metrics["answered"] == 1.0
    assert (metrics["episodes"], metrics["failed_episodes"]) == (3.0, 1.0)
    assert metrics["malformed_unclosed"] == 1.0
    assert metrics["malformed_spoofed_tag"] == 0.0


def test_a_page_is_missed_if_a_useful_document_was_requested_and_none_delivered(
    make_rollout: Callable[..., Rollout],
) -> None:
    noisy, useful = Document(text="x", useful=False), Document(text="y", useful=True)
    unknown = Document(text="z")

    def turn(requested: bool, *documents: Document) -> Turn:
        request = SearchRequest("q", None, None, (requested, requested), 0)
        return Turn("", Search("q"), request, documents)

    turns = (
        turn(True, noisy, useful),
        turn(True, noisy, noisy),
        turn(True, useful, useful),
        turn(False, noisy, noisy),  # noise was requested
        turn(True, unknown),  # the engine controls nothing
        turn(True, noisy),
    )
    rollout = make_rollout(2, 3)
    rollout = replace(rollout, transcript=replace(rollout.transcript, turns=turns))
    assert rollout_metrics([Group(rollouts=(rollout,))])["missed_pages"] == 2 / 4


def test_a_step_of_failed_episodes_has_no_means(make_rollout: Callable[..., Rollout]) -> None:
    metrics = rollout_metrics([Group(rollouts=(make_rollout(2, 2, failure="down"),))])
    assert math.isnan(metrics["reward_mean"])
    assert metrics["failed_episodes"] == 1.0


def test_the_share_of_full_contexts(make_rollout: Callable[..., Rollout]) -> None:
    full = replace(make_rollout(2, 1), context_full=True)
    failed = replace(make_rollout(2, 1, failure="engine down"), context_full=True)
    group = Group(rollouts=(full, make_rollout(2, 1), make_rollout(2, 1), failed))
    assert math.isclose(rollout_metrics([group])["context_full"], 1 / 3)
    assert group_from_json(group_to_json(group)) == group
