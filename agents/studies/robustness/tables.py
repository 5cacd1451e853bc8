"""The tables of the robustness suite, for a terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.evaluation.statistics import NUM_FLIPS, NUM_RESAMPLES, PairedDifference
from agents.studies.robustness.play import RobustnessCell
from agents.studies.robustness.scores import ALL_KINDS, Comparison, Score
from agents.studies.robustness.spec import RobustnessSpec
from agents.studies.tables import markdown_table

# Kinds of noise with documents that suggest a wrong answer, and the headings of their columns.
MISLEADING_KINDS = {"injected": "attack success", "misleading": "errors under misleading"}

# Title, headers and rows.
TextTable = tuple[str, list[str], list[list[str]]]


def score_tables(
    scores: Sequence[Score],
    comparisons: Sequence[Comparison],
    spec: RobustnessSpec,
    *,
    allow_abstain: bool,
    brief: bool = False,
) -> list[TextTable]:
    """Return the tables of each group of sets.

    Args:
        scores: of `score_all`.
        comparisons: of `compare_all`.
        spec: the version of the suite.
        allow_abstain: whether the answer "unknown" was allowed; adds the risk-coverage curves.
        brief: leave out the intervals of single kinds, for a terminal.
    """
    tables: list[TextTable] = []
    for group in dict.fromkeys(score.set for score in scores):
        found = {(one.agent, one.kind, one.noise): one for one in scores if one.set == group}
        agents = list(dict.fromkeys(agent for agent, _, _ in found))
        tables.append(_areas(group, agents, found, spec, brief))
        tables.append(_behaviour(group, agents, found, brief))
        if allow_abstain:
            tables.append(_risk_curves(group, agents, found, spec))
        rows = [_comparison(pair) for pair in _pairs(comparisons, group)]
        if rows:
            headers = ["agents", "area under F1", "p", *MISLEADING_KINDS.values()]
            tables.append((f"Paired differences, {group}", headers, rows))
    return tables


def markdown_document(
    tables: Sequence[TextTable],
    cells: Sequence[RobustnessCell],
    spec: RobustnessSpec,
    *,
    allow_abstain: bool,
) -> str:
    """Return the tables with a paragraph on what was played."""
    parts = [f"# {spec.version}\n\n{about(cells, spec, allow_abstain=allow_abstain)}\n"]
    for title, headers, rows in tables:
        parts.append(f"## {title}\n\n{markdown_table(headers, rows)}")
    return "\n".join(parts)


def about(cells: Sequence[RobustnessCell], spec: RobustnessSpec, *, allow_abstain: bool) -> str:
    """Return a paragraph on what was played."""
    sets = {cell.set.name: cell.report.num_episodes for cell in cells}
    played = ", ".join(f"{name} {count} questions" for name, count in sets.items())
    levels = ", ".join(f"{level:g}" for level in spec.levels)
    note = 'The prompt allows the answer "unknown".' if allow_abstain else ""
    return (
        f"{spec.version}: {played}. Noise levels {levels}, seed {spec.seed}, the same questions "
        f"and seeds for all agents. 95 % intervals: bootstrap over questions, {NUM_RESAMPLES:,} "
        f"resamples; p-values: sign-flip test, {NUM_FLIPS:,} flips, not corrected for multiple "
        f"comparisons. {note}"
    ).rstrip()


Found = Mapping[tuple[str, str, float | None], Score]


def _areas(
    group: str, agents: Sequence[str], found: Found, spec: RobustnessSpec, brief: bool
) -> TextTable:
    rows = []
    for agent in agents:
        undisturbed = found[agent, ALL_KINDS, 0.0].f1
        kinds = [found[agent, kind, None].f1 for kind in spec.kinds]
        shown = [one.format_mean() if brief else str(one) for one in (undisturbed, *kinds)]
        rows.append([agent, *shown, str(found[agent, ALL_KINDS, None].f1)])
    headers = ["agent", "F1 without noise", *spec.kinds, "all kinds"]
    return f"Area under F1 over the noise level, {group}", headers, rows


def _behaviour(group: str, agents: Sequence[str], found: Found, brief: bool) -> TextTable:
    rows = []
    for agent in agents:
        over_all = found[agent, ALL_KINDS, None]
        shown = [over_all.coverage, over_all.risk, over_all.searches]
        aurc = "-" if over_all.aurc is None else f"{over_all.aurc:.3f}"
        coverage, risk, searches = (one.format_mean() if brief else str(one) for one in shown)
        misled = [str(found[agent, kind, None].misled) for kind in MISLEADING_KINDS]
        count = str(over_all.questions)
        rows.append([agent, *misled, coverage, risk, aurc, searches, count])
    headers = ["agent", *MISLEADING_KINDS.values(), "coverage", "risk", "AURC", "searches"]
    return f"Wrong answers, abstention and searches, {group}", [*headers, "questions"], rows


def _risk_curves(
    group: str, agents: Sequence[str], found: Found, spec: RobustnessSpec
) -> TextTable:
    rows = []
    for agent in agents:
        points = [found[agent, ALL_KINDS, level] for level in spec.levels]
        texts = [f"{one.coverage.format_mean()} / {one.risk.format_mean()}" for one in points]
        rows.append([agent, *texts])
    headers = ["agent", *(f"noise {level:g}" for level in spec.levels)]
    return f"Coverage / risk by noise level, all kinds, {group}", headers, rows


def _pairs(comparisons: Sequence[Comparison], group: str) -> list[dict[str, Comparison]]:
    """Return the comparisons of each pair of agents by kind."""
    pairs: dict[tuple[str, str], dict[str, Comparison]] = {}
    for one in comparisons:
        if one.set == group:
            pairs.setdefault((one.agent, one.other), {})[one.kind] = one
    return list(pairs.values())


def _comparison(pair: Mapping[str, Comparison]) -> list[str]:
    over_all = pair[ALL_KINDS]
    p_value = "-" if over_all.f1.p_value is None else f"{over_all.f1.p_value:.4f}"
    misled = [_difference(pair[kind].misled) for kind in MISLEADING_KINDS]
    return [f"{over_all.agent} - {over_all.other}", _difference(over_all.f1), p_value, *misled]


def _difference(paired: PairedDifference) -> str:
    return paired.difference.format(sign=True)
