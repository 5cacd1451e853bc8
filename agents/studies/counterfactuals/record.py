"""Writes the folder of a counterfactual study: one line for each flipped page and its transcript.

Line i of both files belongs to the same page. Pages are written when their episodes end and are not
played again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.storage.jsonl import truncate_lines, whole_lines
from agents.storage.output_folder import ensure_settings
from agents.studies.counterfactuals.flipped_page import FlippedPage
from zs_env.transcripts.storage import append_transcripts
from zs_env.transcripts.transcript import Transcript

SETTING_FILE = "counterfactuals.json"
PAGES_FILE = "pages.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"


class CounterfactualRecord:
    """Stores the flipped pages of one evaluation.

    Args:
        folder: created if missing.
        setting: of the evaluation.

    Raises:
        ValueError: if the folder contains the pages of another evaluation.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        self._pages, self._transcripts = folder / PAGES_FILE, folder / TRANSCRIPTS_FILE
        files = [self._pages, self._transcripts]
        ensure_settings(folder / SETTING_FILE, setting, what="counterfactual study", files=files)
        count = min(len(whole_lines(file)) for file in files)
        for file in files:
            truncate_lines(file, count)
        self.pages = [FlippedPage(**json.loads(line)) for line in whole_lines(self._pages)]

    def add(self, page: FlippedPage, transcript: Transcript) -> None:
        """Store a page and the episode in which it was flipped."""
        append_transcripts(self._transcripts, [transcript])
        with open(self._pages, "a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(asdict(page))}\n")
        self.pages.append(page)
