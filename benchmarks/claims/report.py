"""The table and the plot of the replication, computed from its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.llm.trainer.evaluator import REAL_ENGINE, noise_setting
from agents.studies.tables import markdown_table
from benchmarks.claims.arms import ARMS
from benchmarks.claims.claims import CLAIMS, MARGIN, MIN_SEEDS, Finding, find
from benchmarks.claims.results import RunResult, by_arm

Arms = Mapping[str, Mapping[int, RunResult]]
_COLUMNS = 4  # of plots


def settings_of(rows: Sequence[RunResult]) -> list[str]:
    """Return the settings of all rows; the first one decides the verdicts."""
    common = [name for name in rows[0].percents if all(name in row.percents for row in rows)]
    first = REAL_ENGINE if REAL_ENGINE in common else noise_setting(0.0)
    return [first, *(name for name in common if name != first)]


def findings(rows: Sequence[RunResult]) -> list[Finding]:
    """Return the findings of all claims whose arms both have results."""
    arms = by_arm(rows)
    found = [find(claim, arms, settings_of(rows)) for claim in CLAIMS]
    return [finding for finding in found if finding is not None]


def to_json(rows: Sequence[RunResult]) -> dict[str, Any]:
    """Return JSON values: the rows with every question's F1, and the findings."""
    return {
        "runs": [row.to_json() for row in rows],
        "claims": [
            {
                "part": finding.claim.part,
                "claim": finding.claim.text,
                "arm": finding.claim.arm,
                "other": finding.claim.other,
                "published": finding.claim.published,
                "seeds": finding.seeds,
                "differences": {
                    setting: asdict(interval) for setting, interval in finding.differences.items()
                },
                "verdict": finding.verdict,
            }
            for finding in (findings(rows) if rows else [])
        ],
    }


def markdown(rows: Sequence[RunResult], *, command: str) -> str:
    """Return the tables of claims and of arms, with an explanation.

    Args:
        rows: at least one.
        command: that was run.
    """
    return "\n".join([*_head(rows, command), _claims(rows), *_arms(rows)])


def _head(rows: Sequence[RunResult], command: str) -> Iterator[str]:
    budget, seeds = rows[0].budget, sorted({row.seed for row in rows})
    yield "# Replication of the paper's claims\n"
    yield f"`{command}`, commit {', '.join(sorted({row.commit or 'unknown' for row in rows}))}.\n"
    yield (
        f"Seeds {', '.join(map(str, seeds))}; every arm trains for {budget['steps']} steps with "
        "the same number of episodes and is evaluated greedily on the same "
        f"{len(rows[0].percents[settings_of(rows)[0]])} held-out questions. Differences are in F1, "
        "paired by seed and question, with 95 % intervals of a bootstrap over seeds and questions. "
        "The claim that an arm is better holds if the whole interval is above 0, and does not hold "
        f"if it is below {MARGIN}. The claim that it is as good does not hold if the interval is "
        f"below 0, and holds if it is above -{MARGIN}. Fewer than {MIN_SEEDS} seeds decide "
        "nothing. The first column of differences decides the verdict. Published figures are the "
        "paper's mean exact match in percent, for another model and other questions.\n"
    )


def _claims(rows: Sequence[RunResult]) -> str:
    settings = settings_of(rows)
    columns = [f"difference, {setting}" for setting in settings]
    lines = [
        [
            finding.claim.part,
            finding.claim.text,
            finding.claim.published or "-",
            f"{finding.claim.arm} / {finding.claim.other}",
            str(finding.seeds),
            *(interval.format(sign=True) for interval in finding.differences.values()),
            f"**{finding.verdict}**",
        ]
        for finding in findings(rows)
    ]
    headers = ["", "claim", "published", "arms", "seeds", *columns, "verdict"]
    return markdown_table(headers, lines, num_text=4)


def _arms(rows: Sequence[RunResult]) -> Iterator[str]:
    settings = settings_of(rows)
    lines, notes = [], []
    for name, seeds in by_arm(rows).items():
        runs = list(seeds.values())
        searches = fmean(run.searches[settings[0]] for run in runs)
        seconds = fmean(run.seconds for run in runs)
        scores = [_spread(runs, setting) for setting in settings]
        lines.append([name, ARMS[name].about, *scores, f"{searches:.1f}", f"{seconds:.0f}"])
        notes += [f"- {name}, seed {run.seed}: {run.note}" for run in runs if run.note]
        notes += [
            f"- {name}, seed {run.seed}: {run.failures} failures" for run in runs if run.failures
        ]
    columns = [f"F1, {setting}" for setting in settings]
    yield markdown_table(["arm", "", *columns, "searches", "seconds"], lines, num_text=2)
    yield "F1: mean over seeds, with the lowest and highest seed.\n"
    if notes:
        yield "Errors and failures:\n"
        yield from notes


def _spread(runs: Sequence[RunResult], setting: str) -> str:
    means = [float(run.f1_Q(setting).mean()) for run in runs]
    return f"{fmean(means):.3f} ({min(means):.3f} to {max(means):.3f})"


def draw(rows: Sequence[RunResult], path: Path) -> None:
    """Plot held-out F1 over the steps, one plot for each part: mean and range of the seeds."""
    arms, setting = by_arm(rows), settings_of(rows)[0]
    parts: dict[str, dict[str, None]] = {}
    for claim in CLAIMS:
        compared = [name for name in (claim.arm, claim.other) if name in arms]
        parts.setdefault(claim.part, {}).update(dict.fromkeys(compared))
    lines = -(-len(parts) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3 * lines), layout="constrained")
    grid = figure.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for one, (part, names) in zip(axes, parts.items(), strict=False):
        for name in names:
            _draw_arm(one, name, list(arms[name].values()), setting)
        one.set(title=f"({part}) held-out F1, {setting}", xlabel="step", ylim=(0, 1))
        if names:
            one.legend(fontsize=7, loc="lower right")
    for unused in axes[len(parts) :]:
        unused.set_axis_off()
    figure.savefig(path, dpi=110)


def _draw_arm(axes: Axes, name: str, runs: Sequence[RunResult], setting: str) -> None:
    curves = [{step: f1 for step, f1 in run.held_out[setting]} for run in runs]
    steps = sorted(set.intersection(*map(set, curves)))
    if not steps:
        level = fmean(float(run.f1_Q(setting).mean()) for run in runs)
        axes.axhline(level, label=name, linestyle=":", color="0.3" if name == "prompted" else "0.6")
        return
    columns = [[curve[step] for curve in curves] for step in steps]
    (line,) = axes.plot(steps, list(map(fmean, columns)), marker="o", markersize=3, label=name)
    low, high = list(map(min, columns)), list(map(max, columns))
    axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15)
