"""The results of an evaluation: means with intervals, as a table or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.table import Table

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_ratio,
)

METRICS = ("f1", "exact_match", "cover_match", "reward", "searches", "opens", "turns", "malformed")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of an evaluation.

    Episodes that a failure ended are counted in `num_failures` and `failure_rate`, and
    excluded from every other figure.

    Attributes:
        setting: what was evaluated: agent, label, env, seed, noise.
        num_episodes: number of episodes, including failures.
        num_failures: number of episodes that a failure ended.
        failure_rate: share of episodes that a failure ended.
        metrics: by name of `METRICS`.
        reasons: number of episodes by the reason of their end.
        f1_by_structure: F1 by the structure of the questions, if their set names one.
        noisy_share: mean over episodes of the share of noisy documents; documents whose quality
            the engine does not control are excluded.
        common_failure: the most frequent failure; None without one.
        failed_checks: share of the documents delivered as useful or as noisy that fail a check, by
            "kind/check". Simulated engines check their documents; "noisy/not_retrieved" is of the
            engine `corpus`.
        folder: of transcripts and results; None if they were not written.
        costs: of the searches of this call, see `zs_env.search.types.SearchCost`; not part of the
            JSON, since they depend on earlier sessions and on the clock.
    """

    setting: Mapping[str, Any]
    num_episodes: int
    num_failures: int
    failure_rate: Interval
    metrics: Mapping[str, Interval]
    reasons: Mapping[str, int]
    f1_by_structure: Mapping[str, Interval]
    noisy_share: Interval
    common_failure: str | None
    failed_checks: Mapping[str, float]
    folder: str | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def agent(self) -> str:
        """The label of the agent."""
        return str(self.setting.get("label") or self.setting.get("agent", "agent"))

    @property
    def failure_summary(self) -> str:
        """The number of failed episodes and the most frequent failure, as a sentence."""
        return failure_summary(self.num_failures, self.num_episodes, self.common_failure)

    @property
    def all_failed(self) -> bool:
        """Whether a failure ended every episode, so that there are no scores."""
        return self.num_failures == self.num_episodes > 0

    @classmethod
    def of(
        cls,
        results: Sequence[EpisodeResult],
        *,
        setting: Mapping[str, Any],
        folder: str | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> Report:
        """Average results; the same results give the same intervals, since resampling is seeded."""
        valid = [result for result in results if result.failure is None]
        return cls(
            setting=dict(setting),
            num_episodes=len(results),
            num_failures=len(results) - len(valid),
            failure_rate=bootstrap_interval([float(one.failure is not None) for one in results]),
            metrics=bootstrap_intervals(
                {name: [float(getattr(result, name)) for result in valid] for name in METRICS}
            ),
            reasons=dict(sorted(Counter(result.reason for result in results).items())),
            f1_by_structure={
                name: bootstrap_interval([one.f1 for one in valid if one.structure == name])
                for name in sorted({one.structure for one in valid if one.structure})
            },
            noisy_share=bootstrap_interval(
                [
                    one.noisy_documents / one.labelled_documents
                    for one in valid
                    if one.labelled_documents
                ]
            ),
            common_failure=most_common_failure(result.failure for result in results),
            failed_checks=_failed_checks(valid),
            folder=folder,
            costs=dict(costs or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; "agent" is its label."""
        figures = asdict(replace(self, setting={}))
        failures = {"count": self.num_failures, **figures["failure_rate"]}
        names = ("reasons", "f1_by_structure", "noisy_share", "failed_checks", "folder")
        return {
            **{name: value for name, value in self.setting.items() if name != "label"},
            "agent": self.agent,
            "episodes": self.num_episodes,
            **figures["metrics"],
            "failures": {**failures, "most_often": self.common_failure},
            **{name: figures[name] for name in names},
        }

    def table(self) -> Table:
        """Return the figures as a table."""
        env = self.setting.get("env", "")
        table = Table(
            title=f"{self.agent} on {env}, {self.num_episodes} episodes", title_justify="left"
        )
        for header in ("", "mean", "95 % interval"):
            table.add_column(header, justify="left" if not header else "right")
        rows = [(name.replace("_", " "), value) for name, value in self.metrics.items()]
        rows += [(f"f1, {name}", value) for name, value in self.f1_by_structure.items()]
        rows.append(("noisy documents", self.noisy_share))
        rows.append((f"failures ({self.num_failures}, excluded above)", self.failure_rate))
        for label, interval in rows:
            mean, _, ends = str(interval).partition(" ")
            table.add_row(label, mean, ends)
        for label, share in self.failed_checks.items():
            kind, _, check = label.partition("/")
            table.add_row(f"{kind} documents that fail {check!r}", f"{share:.3f}", "")
        return table


def most_common_failure(failures: Iterable[str | None]) -> str | None:
    """Return the most frequent failure of some episodes; None if none failed."""
    counts = Counter(failure for failure in failures if failure is not None)
    return counts.most_common(1)[0][0] if counts else None


def failure_summary(num_failures: int, num_episodes: int, common_failure: str | None) -> str:
    """Return a sentence with the number of failed episodes and the most frequent failure."""
    return (
        f"a failure ended {num_failures} of {num_episodes} episodes, most often: {common_failure}"
    )


def observed_noise(results: Iterable[EpisodeResult]) -> Interval:
    """Return the share of noisy documents, among those whose quality the engine controls.

    The mean of the episodes' shares (`Report.noisy_share`) is lower than the noise probability for
    an agent that repeats a search until it succeeds; this pooled share is not.
    """
    valid = [result for result in results if result.failure is None]
    return bootstrap_ratio(
        [result.noisy_documents for result in valid],
        [result.labelled_documents for result in valid],
    )


def _failed_checks(results: Sequence[EpisodeResult]) -> dict[str, float]:
    failed: Counter[str] = Counter()
    for result in results:
        failed.update(result.failed_checks)
    noisy = sum(result.noisy_documents for result in results)
    shown = {"noisy": noisy, "useful": sum(result.documents for result in results) - noisy}
    return {name: count / shown[name.partition("/")[0]] for name, count in sorted(failed.items())}
