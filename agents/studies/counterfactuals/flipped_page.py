"""One flipped page and its effect on the reward of its episode, and the files of such pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from agents.storage.jsonl import truncate_lines, whole_lines
from agents.storage.output_folder import ensure_settings
from zs_env.transcripts.storage import append_transcripts
from zs_env.transcripts.transcript import Transcript

SETTING_FILE = "counterfactuals.json"
PAGES_FILE = "pages.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
PageKind = Literal["useful", "noisy", "mixed"]
_OPPOSITE: dict[PageKind, PageKind] = {"useful": "noisy", "noisy": "useful", "mixed": "mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedPage:
    """One flipped page of a recorded episode.

    Attributes:
        index: number of the question in its set, from 0.
        question_id: id of the question.
        turn: number of the turn with the search, from 0 over all turns.
        kind: requested quality of the page; "mixed" if its documents were drawn one by one.
        reward: of the recorded episode.
        reward_flipped: of the episode with the flipped page; None if a failure ended it.
        same_page: whether the flipped page shows the same documents, because the engine has no
            others.
        failure: the engine's error in the flipped episode; None without one.
    """

    index: int
    question_id: str
    turn: int
    kind: PageKind
    reward: float
    reward_flipped: float | None
    same_page: bool
    failure: str | None = None

    @classmethod
    def of(cls, index: int, turn: int, recorded: Transcript, flipped: Transcript) -> FlippedPage:
        """Compare two episodes; in both, the turn is a search that was sent."""
        before, after = recorded.turns[turn], flipped.turns[turn]
        assert before.request is not None
        useful = set(before.request.useful)
        kind: PageKind = "mixed" if len(useful) > 1 else "useful" if True in useful else "noisy"
        return cls(
            index=index,
            question_id=recorded.question.id,
            turn=turn,
            kind=kind,
            reward=recorded.reward,
            reward_flipped=None if flipped.failure else flipped.reward,
            same_page=before.message == after.message,
            failure=flipped.failure,
        )

    @property
    def difference(self) -> float | None:
        """Change of the reward; None if a failure ended the flipped episode."""
        return None if self.reward_flipped is None else self.reward_flipped - self.reward

    @property
    def direction(self) -> str:
        """The change of the page, such as "useful to noisy"."""
        return f"{self.kind} to {_OPPOSITE[self.kind]}"


class CounterfactualRecord:
    """Stores the flipped pages of one evaluation: a line each, and their transcripts.

    Line i of both files belongs to the same page. A page is written when its episode ends.

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
