"""Metrics of the rollouts of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from agents.llm.rollout.types import Group, Rollout, Source
from zs_env.actions import MALFORMED_KINDS

_PHRASE_LENGTH = 4  # tokens


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Means over the episodes that did not fail, and counts over all.

    `token_mismatch` is expected to be 0. `useful_pages` is the share of pages with a useful
    document, `missed_pages` that of pages without one among those for which one was requested.
    `repeated_tokens` is the share of the policy's 4-token phrases that repeat an earlier
    one of the same rollout.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    sound = [rollout for rollout in rollouts if not rollout.failed]
    transcripts = [rollout.transcript for rollout in sound]
    num_turns = sum(len(transcript.turns) for transcript in transcripts)
    malformed = sum((transcript.malformed for transcript in transcripts), Counter[str]())
    rewards = [rollout.reward for rollout in sound]
    turns = [turn for transcript in transcripts for turn in transcript.turns]
    return {
        "reward_mean": _mean(rewards),
        "reward_std": float(np.std(rewards)) if rewards else float("nan"),
        "f1_mean": _mean([transcript.scores()["f1"] for transcript in transcripts]),
        "searches_mean": _mean([transcript.num_searches for transcript in transcripts]),
        "opens_mean": _mean([transcript.num_opens for transcript in transcripts]),
        "turns_mean": _mean([len(transcript.turns) for transcript in transcripts]),
        "answered": _mean([transcript.reason == "answer" for transcript in transcripts]),
        # Of the pages whose quality the engine controls; documents that noise left out are noisy.
        "useful_pages": _mean(
            [
                any(document.useful for document in turn.documents)
                for turn in turns
                if any(document.useful is not None for document in turn.documents)
                or (turn.request is not None and turn.request.num_left_out)
            ]
        ),
        # Of those for which a useful document was requested.
        "missed_pages": _mean(
            [
                not any(document.useful for document in turn.documents)
                for transcript in transcripts
                for turn in transcript.turns
                if turn.is_search
                and turn.request is not None
                and any(turn.request.useful)
                and any(document.useful is not None for document in turn.documents)
            ]
        ),
        "tokens_mean": _mean([len(rollout.token_ids) for rollout in sound]),
        "context_full": _mean([rollout.context_full for rollout in sound]),
        "action_tokens_mean": _mean([sum(rollout.action_mask) for rollout in sound]),
        "malformed_rate": malformed.total() / num_turns if num_turns else float("nan"),
        "repeated_tokens": _mean([_repeated(rollout) for rollout in sound]),
        "episodes": float(len(rollouts)),
        "failed_episodes": float(len(rollouts) - len(sound)),
        "token_mismatch": float(sum(rollout.token_mismatch for rollout in rollouts)),
        **{f"malformed_{kind}": float(malformed[kind]) for kind in MALFORMED_KINDS},
    }


def _repeated(rollout: Rollout) -> float:
    """Share of the policy's 4-token phrases that repeat an earlier one."""
    phrases: list[tuple[int, ...]] = []
    for segment in rollout.segments:
        if segment.source is Source.POLICY:
            ids = segment.token_ids
            phrases += [
                ids[start : start + _PHRASE_LENGTH]
                for start in range(len(ids) - _PHRASE_LENGTH + 1)
            ]
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
