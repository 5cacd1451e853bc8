"""Writes evaluations as one self-contained HTML page: figures, plots, every transcript.

The page makes no network requests and runs only its own scripts. The texts of agents, documents and
data sets are embedded as JSON and inserted as text, and a Content-Security-Policy allows our
scripts and our style by their digests. The scripts draw the plots, so writing a report needs no
further packages.

Transcripts are stored in gzipped chunks of about a megabyte. A chunk contains each of its documents
once. It contains the same questions of all evaluations of a set, whose pages are often equal.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from string import Template
from typing import Any, TextIO

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.report.contents import (
    COLUMNS,
    RESULT_COLUMNS,
    PageCounts,
    evaluation_figures,
    transcript_view,
    with_unique_names,
)
from agents.storage.output_folder import atomic_path
from zs_env.search.types import Document
from zs_env.text.paths import local_path
from zs_env.transcripts.serialization import document_to_json
from zs_env.transcripts.transcript import Transcript

# Classic scripts share one scope, so each may use the names of those before it.
SCRIPTS = (
    "elements.js",
    "unpack.js",
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
_DATA_MARKER = "<!-- data and scripts -->"


def write_report(
    folders: Sequence[str | Path | EvaluationFolder],
    path: str | Path,
    *,
    title: str = "Evaluations",
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = (),
) -> None:
    """Write the report of evaluations atomically; equal evaluations give equal bytes.

    Args:
        folders: of evaluations, or read already, in the order in which they are shown.
        path: of the page; its folder is created if missing.
        title: of the page.
        tables: titles, headers and rows of tables that are shown first.

    Raises:
        ValueError: if there is no folder, or one contains no evaluation or a damaged one.
    """
    if not folders:
        raise ValueError("a report needs at least one evaluation folder, got none")
    evaluations = [
        one if isinstance(one, EvaluationFolder) else EvaluationFolder.read(one) for one in folders
    ]
    path = local_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(path) as temporary,
        # Characters that UTF-8 cannot encode, such as half a surrogate pair, become references.
        temporary.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as page,
    ):
        _write_page(page, evaluations, title, tables)


def script_json(value: Any) -> str:
    """Return JSON for a script element: ASCII, and without "<".

    Numbers that are not finite become null, since JSON cannot represent them.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


class _Chunks:
    """Writes transcripts chunk by chunk, so that only one chunk is in memory."""

    def __init__(self, page: TextIO) -> None:
        self._page = page
        self._chunk = 0
        self._start()

    def add(self, transcript: Transcript) -> tuple[int, int]:
        """Add a transcript; return the number of its chunk and its place in it."""
        text = script_json(transcript_view(transcript, self._number))
        self._transcripts.append(text)
        self._size += len(text)
        place = (self._chunk, len(self._transcripts) - 1)
        if self._size > CHUNK_CHARS:
            self.write()
        return place

    def write(self) -> None:
        """Write the collected transcripts as one chunk."""
        if not self._transcripts:
            return
        text = (
            f'{{"documents":[{",".join(self._numbers)}],'
            f'"transcripts":[{",".join(self._transcripts)}]}}'
        )
        write_data(self._page, "class", "transcripts", packed_json(text))
        self._chunk += 1
        self._start()

    def _start(self) -> None:
        self._numbers: dict[str, int] = {}  # by document
        self._transcripts: list[str] = []
        self._size = 0

    def _number(self, document: Document) -> int:
        view = document_to_json(document)
        view.pop("rank", None)  # the position in the page
        text = script_json(view)
        if text not in self._numbers:
            self._size += len(text)
        return self._numbers.setdefault(text, len(self._numbers))


def _write_page(
    page: TextIO, evaluations: Sequence[EvaluationFolder], title: str, tables: Sequence[Any]
) -> None:
    style, scripts = page_asset("page.css"), list(map(page_asset, SCRIPTS))
    head, _, tail = page_asset("page.html").partition(_DATA_MARKER)
    page.write(
        Template(head).substitute(
            policy=content_security_policy(scripts, style), title=html.escape(title), style=style
        )
    )
    chunks = _Chunks(page)
    pages = [PageCounts() for _ in evaluations]
    rows = []
    for number, result, transcript in _side_by_side(evaluations):
        if transcript is None:
            start = [None, 0, result.question_id, ()]
        else:
            question = transcript.question
            start = [*chunks.add(transcript), question.text, question.answers]
            pages[number].add(transcript)
        rows.append([number, *start, *(getattr(result, name) for name in RESULT_COLUMNS)])
    chunks.write()
    report = {
        "title": title,
        "tables": tables,
        "evaluations": with_unique_names(list(map(evaluation_figures, evaluations, pages))),
        "columns": COLUMNS,
        "rows": rows,
    }
    write_data(page, "id", "report", script_json(report))
    page.writelines(f"<script>{script}</script>\n" for script in scripts)
    page.write(tail)


def packed_json(text: str) -> str:
    """Return JSON text as a JSON string: gzipped, in base64; `unpacked` in unpack.js reads it."""
    return script_json(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())


def content_security_policy(scripts: Sequence[str], style: str) -> str:
    """Return a policy that allows these inline scripts and this style, and nothing else.

    Trusted types prevent our own scripts from turning text into markup.
    """
    return (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts))}; "
        f"style-src {_digest(style)}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _side_by_side(
    evaluations: Sequence[EvaluationFolder],
) -> Iterator[tuple[int, EpisodeResult, Transcript | None]]:
    """Yield all episodes with the numbers of their evaluations, question by question in a set."""
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


def write_data(page: TextIO, attribute: str, value: str, text: str) -> None:
    """Write a script element with JSON text, which a script of the page reads."""
    page.write(f'<script type="application/json" {attribute}="{value}">{text}</script>\n')


def page_asset(name: str) -> str:
    """Return the text of a file of the page, such as "page.css"."""
    return files("agents.evaluation.report").joinpath("page", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return list(map(_finite, value)) if isinstance(value, list | tuple) else value
