"""Scores and comparisons as CSV: one line a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.storage.csv_file import write_csv
from agents.studies.benchmark.comparison import Comparison
from agents.studies.benchmark.scores import Score


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write every metric of every score."""
    write_csv(
        path,
        [
            {
                "agent": score.agent,
                "set": score.set,
                "metric": metric,
                **interval.to_json(),
                "questions": score.questions,
                "episodes": score.episodes,
                "failures": score.failures,
                "void_questions": score.void_questions,
            }
            for score in scores
            for metric, interval in score.metrics.items()
        ],
    )


def write_comparisons(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write every metric of every comparison; `mean` is that of `agent` minus that of `other`."""
    write_csv(
        path,
        [
            {
                "agent": one.agent,
                "other": one.other,
                "set": one.set,
                "metric": metric,
                **paired.difference.to_json(),
                "p_value": paired.p_value,
                "questions": one.questions,
                "pairs": one.pairs,
            }
            for one in comparisons
            for metric, paired in one.metrics.items()
        ],
    )
