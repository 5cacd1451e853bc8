"""The folder of a counterfactual study: a line for each flipped page, its transcript beside it.

Line i of either file is the same page. Pages are written as their episodes end; what is there is
not played again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.storage.jsonl import keep_lines, whole_lines
from agents.storage.settings_file import keep_setting
from agents.studies.counterfactuals.flipped_page import FlippedPage
from zs_env.transcripts.storage import append_transcripts
from zs_env.transcripts.transcript import Transcript

SETTING_FILE = "counterfactuals.json"
PAGES_FILE = "pages.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"


class CounterfactualRecord:
    """Keeps the flipped pages of one evaluation.

    Args:
        folder: made where it is missing.
        setting: of the evaluation.

    Raises:
        ValueError: if the folder holds the pages of another evaluation.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        self.folder = folder
        files = [folder / name for name in (PAGES_FILE, TRANSCRIPTS_FILE)]
        keep_setting(folder / SETTING_FILE, setting, what="counterfactual study", played=files)
        lines = whole_lines(folder / PAGES_FILE)
        transcripts = whole_lines(folder / TRANSCRIPTS_FILE)
        num_whole = min(len(lines), len(transcripts))
        keep_lines(folder / PAGES_FILE, lines[:num_whole])
        keep_lines(folder / TRANSCRIPTS_FILE, transcripts[:num_whole])
        self.pages = [FlippedPage(**json.loads(line)) for line in lines[:num_whole]]

    def add(self, page: FlippedPage, transcript: Transcript) -> None:
        """Keep a page, with the episode that it was flipped in."""
        append_transcripts(self.folder / TRANSCRIPTS_FILE, [transcript])
        with open(self.folder / PAGES_FILE, "a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(page.to_json())}\n")
        self.pages.append(page)
