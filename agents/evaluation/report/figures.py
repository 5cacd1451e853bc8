"""The figures of one evaluation for the table and the plots of the HTML report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.statistics import Interval, bootstrap_ratio
from agents.evaluation.summary import Report, observed_noise
from zs_env.transcripts.transcript import Transcript

SHOWN_METRICS = ("f1", "exact_match", "cover_match", "searches", "malformed")


@dataclass(slots=True)
class PageCounts:
    """Counts of the pages of an evaluation, collected transcript by transcript.

    Attributes:
        noise: noise probability of each episode.
        labeled: number of each episode's pages with answer labels; those of yes/no questions have
            none.
        without_answer: number of labeled pages that contain no gold answer.
    """

    noise: list[float] = field(default_factory=list)
    labeled: list[int] = field(default_factory=list)
    without_answer: list[int] = field(default_factory=list)

    def add(self, transcript: Transcript) -> None:
        """Count the pages of a transcript; failed episodes are ignored."""
        if transcript.failure is not None:
            return
        pages = [
            [document.contains_answer for document in turn.documents] for turn in transcript.turns
        ]
        labeled = [page for page in pages if page and None not in page]
        self.noise.append(transcript.noise_probability)
        self.labeled.append(len(labeled))
        self.without_answer.append(sum(not any(page) for page in labeled))

    def requested_noise(self, setting: Mapping[str, Any]) -> float | None:
        """Return the noise probability of the setting, or else the mean over the episodes."""
        if setting.get("noise") is not None:
            return float(setting["noise"])
        return sum(self.noise) / len(self.noise) if self.noise else None


def evaluation_figures(evaluation: EvaluationFolder, pages: PageCounts) -> dict[str, Any]:
    """Return an evaluation's figures as JSON values; an interval is [mean, low, high] or null."""
    report = Report.of(evaluation.results, setting=evaluation.setting)
    return {
        "agent": evaluation.agent,
        "set": evaluation.set_name,
        "engine": evaluation.engine_name,
        "noise": pages.requested_noise(evaluation.setting),
        "folder": str(evaluation.folder),
        "setting": dict(evaluation.setting),
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "failure_rate": _ends(report.failure_rate),
        **{name: _ends(report.metrics[name]) for name in SHOWN_METRICS},
        "reasons": dict(report.reasons),
        "searches_counts": _searches_counts(evaluation),
        "noisy_share": _ends(observed_noise(evaluation.results)),
        "unanswering_share": _ends(bootstrap_ratio(pages.without_answer, pages.labeled)),
    }


def with_unique_names(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the folder to the agent's name where agent, set, engine and noise are not unique.

    This happens with two seeds of one agent on the same questions.
    """

    def identity(one: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(one[name] for name in ("agent", "set", "engine", "noise"))

    counts = Counter(map(identity, figures))
    return [
        {**one, "agent": f"{one['agent']} ({one['folder']})"}
        if counts[identity(one)] > 1
        else dict(one)
        for one in figures
    ]


def _ends(interval: Interval) -> list[float] | None:
    if interval.mean is None or interval.low is None or interval.high is None:
        return None
    return [interval.mean, interval.low, interval.high]


def _searches_counts(evaluation: EvaluationFolder) -> list[int]:
    """Count the episodes with 0, 1, 2 and more searches, without failures."""
    counts = Counter(result.searches for result in evaluation.results if result.failure is None)
    return [counts[number] for number in range(max(counts, default=-1) + 1)]
