"""The figures of one evaluation as the HTML report's table and plots read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.statistics import Interval, bootstrap_ratio
from agents.evaluation.summary import Report
from zs_env.transcripts.transcript import Transcript

SHOWN_METRICS = ("f1", "exact_match", "cover_match", "searches", "malformed")


@dataclass(slots=True)
class PagesSeen:
    """What the pages of an evaluation held, gathered transcript by transcript.

    Attributes:
        noise: each episode's chance of noise.
        pages: each episode's number of pages that can be judged: not those of yes/no questions.
        unanswering: of them, those without a document in which a gold answer stands.
    """

    noise: list[float] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    unanswering: list[int] = field(default_factory=list)

    def add(self, transcript: Transcript) -> None:
        """Take a transcript into account; of one that a failure ended nothing counts."""
        if transcript.failure is not None:
            return
        verdicts = [
            [document.contains_answer for document in turn.documents] for turn in transcript.turns
        ]
        judged = [page for page in verdicts if page and None not in page]
        self.noise.append(transcript.noise_probability)
        self.pages.append(len(judged))
        self.unanswering.append(sum(not any(page) for page in judged))

    def noise_asked(self, setting: Mapping[str, Any]) -> float | None:
        """Return the noise that was asked for: the setting's, or the mean of what was played."""
        if setting.get("noise") is not None:
            return float(setting["noise"])
        return sum(self.noise) / len(self.noise) if self.noise else None


def evaluation_figures(evaluation: EvaluationFolder, pages: PagesSeen) -> dict[str, Any]:
    """Return an evaluation's figures as JSON values; an interval is [mean, low, high] or null."""
    report = Report.of(evaluation.results, setting=evaluation.setting)
    sound = [result for result in evaluation.results if result.failure is None]
    return {
        "agent": evaluation.agent,
        "set": evaluation.set_name,
        "engine": evaluation.engine_name,
        "noise": pages.noise_asked(evaluation.setting),
        "folder": str(evaluation.folder),
        "setting": dict(evaluation.setting),
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "fault_rate": _ends(report.fault_rate),
        **{name: _ends(report.metrics[name]) for name in SHOWN_METRICS},
        "reasons": dict(report.reasons),
        "searches_counts": _searches_counts(evaluation),
        # Pooled, for an agent that stops once a page is good sees few noisy ones in each episode
        # that goes well; over all pages the share is the chance that was asked for.
        "noisy_share": _ends(
            bootstrap_ratio(
                [result.noisy_documents for result in sound],
                [result.documents for result in sound],
            )
        ),
        "unanswering_share": _ends(bootstrap_ratio(pages.unanswering, pages.pages)),
    }


def tell_apart(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures with agents of distinct names wherever all else about two is the same.

    Two seeds of one agent on the same questions then bear their folders' names too.
    """

    def identity(one: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(one[name] for name in ("agent", "set", "engine", "noise"))

    times = Counter(map(identity, figures))
    return [
        {**one, "agent": f"{one['agent']} ({one['folder']})"}
        if times[identity(one)] > 1
        else dict(one)
        for one in figures
    ]


def _ends(interval: Interval) -> list[float] | None:
    if interval.mean is None or interval.low is None or interval.high is None:
        return None
    return [interval.mean, interval.low, interval.high]


def _searches_counts(evaluation: EvaluationFolder) -> list[int]:
    """Count the episodes with 0, 1, 2 and more searches, failures left out."""
    times = Counter(result.searches for result in evaluation.results if result.failure is None)
    return [times[number] for number in range(max(times, default=-1) + 1)]
