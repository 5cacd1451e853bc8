"""The figures of an evaluation: means with intervals, as a table or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.statistics import Interval, bootstrap_interval, bootstrap_intervals

METRICS = (
    "f1",
    "exact_match",
    "cover_match",
    "reward",
    "searches",
    "turns",
    "malformed",
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an evaluation found.

    Episodes that a failure of the engine ended say nothing about the agent: they are counted in
    `num_failures` and `fault_rate`, and left out of every other figure.

    Attributes:
        setting: what was evaluated: agent, env, seed, noise.
        num_episodes: played, failures included.
        num_failures: ended by a failure.
        fault_rate: share of episodes that a failure ended.
        metrics: by name of `METRICS`.
        reasons: episodes by the reason they ended for.
        f1_by_structure: F1 by the questions' structure, where their set names one.
        noisy_share: of an episode's documents, those that were asked to be noise; over episodes
            that saw any.
        common_fault: what ended most of those that a failure ended; None where nothing did.
        failed_checks: share of the useful or noisy documents that fail a check, by "kind/check";
            only simulated engines check theirs.
        folder: where transcripts and results lie; None where nothing was written.
        costs: cost of the searches of this call, fields of `zs_env.search.types.SearchCost`; not in
            the JSON, for it depends on what was played before and on the clock.
    """

    setting: Mapping[str, Any]
    num_episodes: int
    num_failures: int
    fault_rate: Interval
    metrics: Mapping[str, Interval]
    reasons: Mapping[str, int]
    f1_by_structure: Mapping[str, Interval]
    noisy_share: Interval
    common_fault: str | None
    failed_checks: Mapping[str, float]
    folder: str | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def failure_summary(self) -> str:
        """How many episodes a failure ended, and which one most."""
        return failure_summary(self.num_failures, self.num_episodes, self.common_fault)

    @property
    def all_void(self) -> bool:
        """Whether a failure ended every episode, so that nothing is known of the agent."""
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
        """Average results; equal results give equal intervals, for their resampling is seeded."""
        sound = [result for result in results if result.failure is None]
        structures = sorted({result.structure for result in sound if result.structure})
        faulty = [float(result.failure is not None) for result in results]
        return cls(
            setting=dict(setting),
            num_episodes=len(results),
            num_failures=len(results) - len(sound),
            fault_rate=bootstrap_interval(faulty),
            metrics=bootstrap_intervals(
                {name: [float(getattr(result, name)) for result in sound] for name in METRICS}
            ),
            reasons=dict(sorted(Counter(result.reason for result in results).items())),
            f1_by_structure={
                structure: bootstrap_interval(
                    [result.f1 for result in sound if result.structure == structure]
                )
                for structure in structures
            },
            noisy_share=bootstrap_interval(
                [one.noisy_documents / one.documents for one in sound if one.documents]
            ),
            common_fault=most_common_fault(result.failure for result in results),
            failed_checks=_failed_checks(sound),
            folder=folder,
            costs=dict(costs or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **self.setting,
            "episodes": self.num_episodes,
            **{name: interval.to_json() for name, interval in self.metrics.items()},
            "failures": {
                "count": self.num_failures,
                **self.fault_rate.to_json(),
                "most_often": self.common_fault,
            },
            "reasons": dict(self.reasons),
            "f1_by_structure": {
                name: interval.to_json() for name, interval in self.f1_by_structure.items()
            },
            "noisy_share": self.noisy_share.to_json(),
            "failed_checks": dict(self.failed_checks),
            "folder": self.folder,
        }

    def table(self) -> Table:
        """Return it as a table for people."""
        agent, env = self.setting.get("agent", "agent"), self.setting.get("env", "")
        table = Table(title=f"{agent} on {env}, {self.num_episodes} episodes", title_justify="left")
        for header in ("", "mean", "95 % interval"):
            table.add_column(header, justify="left" if not header else "right")
        rows = [(name.replace("_", " "), value) for name, value in self.metrics.items()]
        rows += [(f"f1, {name}", value) for name, value in self.f1_by_structure.items()]
        rows.append(("documents that were noise", self.noisy_share))
        rows.append((f"failures ({self.num_failures}, left out above)", self.fault_rate))
        for label, interval in rows:
            mean, _, ends = str(interval).partition(" ")
            table.add_row(label, mean, ends)
        for label, share in self.failed_checks.items():
            kind, _, check = label.partition("/")
            table.add_row(f"{kind} documents that fail {check!r}", f"{share:.3f}", "")
        return table


def most_common_fault(failures: Iterable[str | None]) -> str | None:
    """Return the failure that most episodes ended with; None where none did."""
    times = Counter(failure for failure in failures if failure is not None)
    return times.most_common(1)[0][0] if times else None


def failure_summary(num_failures: int, num_episodes: int, common_fault: str | None) -> str:
    """Return the words that say how many of some episodes a failure ended, and which one most."""
    return (
        f"a failure of the engine ended {num_failures} of {num_episodes} episodes, most often: "
        f"{common_fault}"
    )


def _failed_checks(results: Sequence[EpisodeResult]) -> dict[str, float]:
    failed: Counter[str] = Counter()
    for result in results:
        failed.update(result.failed_checks)
    noisy = sum(result.noisy_documents for result in results)
    shown = {"noisy": noisy, "useful": sum(result.documents for result in results) - noisy}
    return {name: count / shown[name.partition("/")[0]] for name, count in sorted(failed.items())}
