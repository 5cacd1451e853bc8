"""The reward of a finished episode, composed of named terms.

A reward function sees the parsed transcript, never its text, and returns named terms whose sum is
the reward. Faulty episodes never get here: they are void and have reward 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zs_env.scoring import f1_score
from zs_env.transcript import Transcript

RewardFunction = Callable[[Transcript], Mapping[str, float]]


def answer_f1(transcript: Transcript) -> dict[str, float]:
    """Token F1 of the parsed answer, 0 without one. Source: ZeroSearch (arXiv:2505.04588), 3.5."""
    prediction = transcript.prediction
    return {"f1": 0.0 if prediction is None else f1_score(prediction, transcript.question.answers)}
