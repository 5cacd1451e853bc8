"""Evaluations as one self-contained HTML page: figures, plots, every transcript.

The page asks the network for nothing and runs nothing but its own scripts: what agents, documents
and data sets wrote is embedded as JSON and put in as text, and a Content-Security-Policy names our
scripts and our style by their digests. The plots are drawn by those scripts, so that writing a
report needs nothing beyond the base install.

Transcripts lie in gzipped chunks of about a megabyte. A chunk keeps each of its documents once,
and it holds the same questions of all evaluations of a set, whose pages are often the same.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from hashlib import sha256
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from string import Template
from typing import Any, TextIO

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.report.figures import PagesSeen, evaluation_figures, tell_apart
from agents.evaluation.report.rows import ReportRow, document_view, transcript_view
from zs_env.search.types import Document
from zs_env.transcripts.transcript import Transcript

# Classic scripts of one page share their names, so each may use those before it.
SCRIPTS = (
    "elements.js",
    "data.js",
    "marks.js",
    "figures.js",
    "axes.js",
    "plots.js",
    "answer_spans.js",
    "transcript.js",
    "text_search.js",
    "filters.js",
    "episode_list.js",
    "start.js",
)
CHUNK_CHARS = 2**20
_DATA_PLACE = "<!-- data and scripts -->"


def write_report(
    folders: Sequence[str | Path | EvaluationFolder],
    path: str | Path,
    *,
    title: str = "Evaluations",
) -> None:
    """Write the report of evaluations; what the path held is replaced. Equal ones, equal bytes.

    Args:
        folders: each as `agents.evaluation.record` writes it, or read already; in the order they
            are shown.
        path: of the page; its folder is made where it is missing.
        title: of the page.

    Raises:
        ValueError: if there is no folder, or one holds no evaluation or a damaged one.
    """
    if not folders:
        raise ValueError("a report needs at least one evaluation folder, got none")
    evaluations = [
        one if isinstance(one, EvaluationFolder) else EvaluationFolder.read(one) for one in folders
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        # A title that no encoding can hold, such as half a character, is spelled in references.
        with temporary.open(
            "w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n"
        ) as page:
            _write_page(page, evaluations, title)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def script_json(value: Any) -> str:
    """Return JSON that stands in a script element as it is: ASCII, and without "<".

    Numbers that are not finite, which JSON has no form for, become null.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


class _Chunks:
    """Writes transcripts chunk by chunk, so that no more than one is ever kept."""

    def __init__(self, page: TextIO) -> None:
        self._page = page
        self._chunk = 0
        self._start()

    def add(self, transcript: Transcript) -> tuple[int, int]:
        """Keep a transcript; return its chunk and its place there."""
        text = script_json(transcript_view(transcript, self._number))
        self._transcripts.append(text)
        self._size += len(text)
        place = (self._chunk, len(self._transcripts) - 1)
        if self._size > CHUNK_CHARS:
            self.write()
        return place

    def write(self) -> None:
        """Write what is kept as one chunk."""
        if not self._transcripts:
            return
        text = (
            f'{{"documents":[{",".join(self._documents)}],'
            f'"transcripts":[{",".join(self._transcripts)}]}}'
        )
        packed = base64.b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode("ascii")
        _write_data(self._page, "class", "transcripts", script_json(packed))
        self._chunk += 1
        self._start()

    def _start(self) -> None:
        self._documents: list[str] = []
        self._numbers: dict[str, int] = {}
        self._transcripts: list[str] = []
        self._size = 0

    def _number(self, document: Document) -> int:
        text = script_json(document_view(document))
        if text not in self._numbers:
            self._numbers[text] = len(self._documents)
            self._documents.append(text)
            self._size += len(text)
        return self._numbers[text]


def _write_page(page: TextIO, evaluations: Sequence[EvaluationFolder], title: str) -> None:
    style = _asset("page.css")
    scripts = [_asset(name) for name in SCRIPTS]
    head, _, tail = _asset("page.html").partition(_DATA_PLACE)
    page.write(
        Template(head).substitute(
            policy=content_security_policy(scripts, style), title=html.escape(title), style=style
        )
    )
    chunks = _Chunks(page)
    pages = [PagesSeen() for _ in evaluations]
    rows = []
    for number, result, transcript in _side_by_side(evaluations):
        chunk, place = (None, 0) if transcript is None else chunks.add(transcript)
        if transcript is not None:
            pages[number].add(transcript)
        rows.append(ReportRow.of(number, result, transcript, chunk=chunk, place=place))
    chunks.write()
    report = {
        "title": title,
        "evaluations": tell_apart(list(map(evaluation_figures, evaluations, pages))),
        "columns": [field.name for field in fields(ReportRow)],
        "rows": [astuple(row) for row in rows],
    }
    _write_data(page, "id", "report", script_json(report))
    page.writelines(f"<script>{script}</script>\n" for script in scripts)
    page.write(tail)


def content_security_policy(scripts: Sequence[str], style: str) -> str:
    """Return the policy under which these inline scripts and this style work, and nothing else.

    Trusted types forbid our own scripts to make markup out of text.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_digest, scripts))}",
            f"style-src {_digest(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _side_by_side(
    evaluations: Sequence[EvaluationFolder],
) -> Iterator[tuple[int, EpisodeResult, Transcript | None]]:
    """Yield all episodes with their evaluations' numbers: of a set, question by question."""
    by_set: dict[str, list[int]] = {}
    for number, evaluation in enumerate(evaluations):
        by_set.setdefault(evaluation.set_name, []).append(number)
    for numbers in by_set.values():
        columns = [
            zip(evaluations[number].results, evaluations[number].transcripts(), strict=True)
            for number in numbers
        ]
        row: tuple[tuple[EpisodeResult, Transcript | None] | None, ...]
        for row in zip_longest(*columns):
            for number, episode in zip(numbers, row, strict=True):
                if episode is not None:
                    yield number, *episode


def _write_data(page: TextIO, attribute: str, value: str, text: str) -> None:
    page.write(f'<script type="application/json" {attribute}="{value}">{text}</script>\n')


def _asset(name: str) -> str:
    return files("agents.evaluation.report").joinpath("page", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return list(map(_finite, value)) if isinstance(value, list | tuple) else value
