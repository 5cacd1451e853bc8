"""The tables of an audit, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from agents.studies.audit.answers import ISSUES
from agents.studies.audit.audit import Audit
from agents.studies.tables import figure_table

Rows = list[list[str]]


def audit_tables(audit: Audit) -> Iterator[Table]:
    """Yield the tables of an audit; those of issues and repetitions only if there are any."""
    for title, headers, rows in audit_rows(audit):
        if rows:
            yield figure_table(title, headers, rows, no_wrap="set")


def audit_rows(audit: Audit) -> list[tuple[str, Sequence[str], Rows]]:
    """Return title, headers and rows of each table."""
    figures = audit.figures
    ranks = list(figures[0]["found"])
    # Columns without figures would make the table too wide for a terminal.
    shown = [name for name in ("with_titles", "unknown") if any(one[name] for one in figures)]
    headers = [
        *("set", "questions", *(f"top {rank}" for rank in ranks)),
        *(["by title"] if "with_titles" in shown else []),
        "answerable",
        *(["unknown"] if "unknown" in shown else []),
        "chance",
    ]
    answerable = [
        [
            one["set"],
            f"{one['questions']:,}",
            *(_percent(one["found"][rank]) for rank in ranks),
            *([_percent(one["found_by_title"])] if "with_titles" in shown else []),
            _percent(one["answerable"]),
            *([f"{one['unknown']:,}"] if "unknown" in shown else []),
            _percent(one["chance"]),
        ]
        for one in figures
    ]
    kinds = [kind for kind in ISSUES if any(one["issues"][kind] for one in figures)]
    issues = [[one["set"], *(f"{one['issues'][kind]:,}" for kind in kinds)] for one in figures]
    repeated = [
        [one["set"], *(f"{one[key]:,}" for key in ("repeated", "repeated_exactly", "conflicting"))]
        for one in figures
        if one["repeated"] or one["conflicting"]
    ]
    overlap = [
        [one["set"], other, f"{count:,}", _percent(count / one["questions"])]
        for one in figures
        for other, count in one["also_in"].items()
        if count
    ]
    return [
        (
            f"Answerable questions in percent, {audit.num_passages:,} passages",
            headers,
            answerable,
        ),
        ("Suspicious gold answers", ["set", *kinds], issues if kinds else []),
        ("Repeated questions", ["set", "repeated", "exactly", "conflicting answers"], repeated),
        (
            "Also in another set",
            ["set", "other", "questions", "percent"],
            overlap,
        ),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
