"""An audit as one self-contained HTML page: its tables, and all questions with filters.

The page is built like that of `agents.evaluation.report`, with the same style and policy.
"""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from agents.evaluation.report.html import (
    content_security_policy,
    packed_json,
    page_asset,
    script_json,
    write_data,
)
from agents.storage.output_folder import atomic_path
from agents.studies.audit.answers import ISSUES
from agents.studies.audit.audit import Audit, AuditedQuestion
from agents.studies.audit.tables import audit_rows

PAGE_FILE = "audit.html"
MAX_ANSWERS = 8  # gold answers that the page shows of a question
_DATA_MARKER = "<!-- data and scripts -->"
_COLUMNS = tuple(field.name for field in fields(AuditedQuestion))


def write_page(audit: Audit, path: Path) -> None:
    """Write the page atomically; equal audits give equal bytes."""
    own = files("agents.studies.audit").joinpath("page")
    scripts = [
        page_asset("elements.js"),
        page_asset("unpack.js"),
        own.joinpath("audit.js").read_text(encoding="utf-8"),
    ]
    style = page_asset("page.css") + own.joinpath("audit.css").read_text(encoding="utf-8")
    template = own.joinpath("audit.html").read_text(encoding="utf-8")
    head, _, tail = template.partition(_DATA_MARKER)
    about = {
        "summary": f"{len(audit.rows):,} questions, {audit.num_passages:,} passages of "
        f"{Path(audit.passages).name}, {audit.top_k} passages a search",
        "tables": audit_rows(audit),
        "columns": _COLUMNS,
        "sets": audit.sets,
        "issues": ISSUES,
    }
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as page,
    ):
        policy = content_security_policy(scripts, style)
        page.write(Template(head).substitute(policy=policy, style=style))
        write_data(page, "id", "audit", script_json(about))
        rows = script_json([_row(row) for row in audit.rows])
        write_data(page, "id", "questions", packed_json(rows))
        page.writelines(f"<script>{script}</script>\n" for script in scripts)
        page.write(tail)


def _row(row: AuditedQuestion) -> list[Any]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    if hidden := len(row.answers) - MAX_ANSWERS:
        values["answers"] = [*row.answers[:MAX_ANSWERS], *([f"and {hidden} more"] * (hidden > 0))]
    if row.chance is not None:
        values["chance"] = round(row.chance, 4)
    return list(values.values())
