"""The folder of an evaluation: what was asked for, each episode's figures, each transcript.

Line i of results and of transcripts is question i. Episodes are written in that order however they
end, so what is there is always a beginning, and a killed evaluation goes on where it stopped; a
line that a kill left torn is cut off. What a failure of the engine ended is played again, and takes
its own place when the evaluation is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.storage.folder_lock import folder_lock
from agents.storage.jsonl import keep_lines, replace_lines, whole_lines
from agents.storage.settings_file import keep_setting
from zs_env.transcripts.storage import append_transcripts, transcript_line
from zs_env.transcripts.transcript import Transcript

SETTING_FILE = "evaluation.json"
RESULTS_FILE = "episodes.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
COSTS_FILE = "costs.jsonl"  # one line for every session that ended by itself


class EvaluationRecord:
    """Keeps the episodes of one evaluation.

    Args:
        folder: that this process holds.
        setting: JSON values that fix every episode: agent, environment, seed, noise.

    Raises:
        ValueError: if the folder holds an evaluation of another setting, or its files were
            changed by another hand.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        self.folder = folder
        files = [folder / name for name in (RESULTS_FILE, TRANSCRIPTS_FILE)]
        keep_setting(folder / SETTING_FILE, setting, what="evaluation", played=files)
        self.results = self._load_results()
        self._early: dict[int, tuple[EpisodeResult, Transcript | None]] = {}
        self._again: dict[int, tuple[EpisodeResult, Transcript | None]] = {}

    @classmethod
    @contextmanager
    def open(cls, folder: str | Path, setting: Mapping[str, Any]) -> Iterator[EvaluationRecord]:
        """Hold a folder, made where it is missing, while its evaluation is played."""
        with folder_lock(Path(folder)):
            record = cls(Path(folder), setting)
            try:
                yield record
            finally:
                record._put_in_place()

    def missing(self, episodes: int) -> list[int]:
        """Return which of the first episodes are to be played, those that a failure ended first."""
        faulty = [one.index for one in self.results[:episodes] if one.failure is not None]
        return [*faulty, *range(len(self.results), episodes)]

    def add(self, result: EpisodeResult, transcript: Transcript | None) -> None:
        """Keep an episode; it is written as soon as all before it are."""
        if result.index < len(self.results):
            self._again[result.index] = (result, transcript)
            return
        self._early[result.index] = (result, transcript)
        ready = []
        while (index := len(self.results) + len(ready)) in self._early:
            ready.append(self._early.pop(index))
        if not ready:
            return
        transcripts = [transcript for _, transcript in ready if transcript is not None]
        if transcripts:
            append_transcripts(self.folder / TRANSCRIPTS_FILE, transcripts)
        # Results go last: an episode counts as played once its transcript is safe.
        with open(self.folder / RESULTS_FILE, "a", encoding="utf-8") as lines:
            lines.writelines(_line(result).decode() for result, _ in ready)
        self.results.extend(result for result, _ in ready)

    def add_costs(self, costs: Mapping[str, float]) -> None:
        """Keep what the searches of one session cost."""
        with open(self.folder / COSTS_FILE, "a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(dict(costs))}\n")

    def _put_in_place(self) -> None:
        """Write episodes that were played again where they failed before."""
        if not self._again:
            return
        transcripts = {
            index: transcript_line(transcript)
            for index, (_, transcript) in self._again.items()
            if transcript is not None
        }
        if transcripts:
            replace_lines(self.folder / TRANSCRIPTS_FILE, transcripts)
        lines = {index: _line(result) for index, (result, _) in self._again.items()}
        replace_lines(self.folder / RESULTS_FILE, lines)
        for index, (result, _) in self._again.items():
            self.results[index] = result
        self._again.clear()

    def _load_results(self) -> list[EpisodeResult]:
        """Read the episodes that are whole, and cut every file back to them."""
        lines = whole_lines(self.folder / RESULTS_FILE)
        transcripts = whole_lines(self.folder / TRANSCRIPTS_FILE)
        if transcripts:
            lines = lines[: len(transcripts)]
        results = [EpisodeResult(**json.loads(line)) for line in lines]
        for index, result in enumerate(results):
            if result.index != index:
                raise ValueError(
                    f"line {index + 1} of {self.folder / RESULTS_FILE} is of question "
                    f"{result.index}, expected {index}; two processes wrote it: delete the folder"
                )
        keep_lines(self.folder / RESULTS_FILE, lines)
        keep_lines(self.folder / TRANSCRIPTS_FILE, transcripts[: len(lines)])
        return results


def _line(result: EpisodeResult) -> bytes:
    return json.dumps(result.to_json()).encode() + b"\n"


def read_results(folder: str | Path) -> list[EpisodeResult]:
    """Read the episodes of an evaluation that nobody is writing."""
    lines = whole_lines(Path(folder) / RESULTS_FILE)
    return [EpisodeResult(**json.loads(line)) for line in lines]
