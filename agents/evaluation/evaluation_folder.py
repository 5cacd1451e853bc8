"""The folder of an evaluation: its settings, the result and transcript of each episode.

Line i of the results and of the transcripts belongs to question i. Episodes are written in this
order, whatever the order in which they end. A killed evaluation therefore leaves a prefix and
continues after it; an incomplete last line is removed. Episodes that a failure ended are
played again and replace their lines once a minute and when the record is closed. An evaluation that
is running or was killed can be read too: incomplete lines are ignored.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.storage.output_folder import (
    ensure_settings,
    folder_lock,
    read_settings,
    replace_lines,
    truncate_lines,
    whole_lines,
)
from zs_env.text.paths import local_path
from zs_env.transcripts.storage import append_transcripts, read_transcripts, transcript_line
from zs_env.transcripts.transcript import Transcript

SETTING_FILE = "evaluation.json"
RESULTS_FILE = "episodes.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
COSTS_FILE = "costs.jsonl"  # one line for each session that was not interrupted
_WRITE_EVERY_S = 60.0  # replacing lines rewrites the files
_DATA_FILE_END = r"(\.jsonl|\.json|\.parquet)?(\.gz)?$"


class EvaluationRecord:
    """Stores the episodes of one evaluation.

    Args:
        folder: locked by this process.
        setting: JSON values that determine every episode: agent, environment, seed, noise.
        fresh: delete the files of an earlier evaluation first.

    Raises:
        ValueError: if the folder contains an evaluation of another setting or damaged files.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.folder = folder
        files = [folder / name for name in (RESULTS_FILE, TRANSCRIPTS_FILE, COSTS_FILE)]
        # "files" has the same values, with the content of files in place of their paths.
        spelled = ("label", "env_kwargs") if "files" in setting else ("label",)
        ensure_settings(
            folder / SETTING_FILE,
            setting,
            what="evaluation",
            files=files,
            uncompared=spelled,
            fresh=fresh,
        )
        self.results = self._load_results()
        self._waiting: dict[int, tuple[EpisodeResult, Transcript | None]] = {}
        self._replayed: dict[int, tuple[EpisodeResult, Transcript | None]] = {}
        self._write_at = time.monotonic() + _WRITE_EVERY_S

    @classmethod
    @contextmanager
    def open(
        cls, folder: str | Path, setting: Mapping[str, Any], *, fresh: bool = False
    ) -> Iterator[EvaluationRecord]:
        """Lock a folder, created if missing, during its evaluation."""
        folder = local_path(folder)
        with folder_lock(folder):
            record = cls(folder, setting, fresh=fresh)
            try:
                yield record
            finally:
                record._write_replayed()

    def missing(self, episodes: int) -> list[int]:
        """Return which of the first episodes to play: failed ones first, then new ones."""
        failed = [one.index for one in self.results[:episodes] if one.failure is not None]
        return [*failed, *range(len(self.results), episodes)]

    def add(self, result: EpisodeResult, transcript: Transcript | None) -> None:
        """Store an episode; it is written once all episodes before it are."""
        if result.index < len(self.results):
            self._replayed[result.index] = (result, transcript)
            if time.monotonic() >= self._write_at:
                self._write_replayed()
            return
        self._waiting[result.index] = (result, transcript)
        ready = []
        while (index := len(self.results) + len(ready)) in self._waiting:
            ready.append(self._waiting.pop(index))
        if not ready:
            return
        transcripts = [transcript for _, transcript in ready if transcript is not None]
        if transcripts:
            append_transcripts(self.folder / TRANSCRIPTS_FILE, transcripts)
        # Results are written last: an episode counts as played once its transcript is stored.
        with open(self.folder / RESULTS_FILE, "ab") as file:
            file.writelines(_line(result) for result, _ in ready)
        self.results.extend(result for result, _ in ready)

    def add_costs(self, costs: Mapping[str, float]) -> None:
        """Store the costs of the searches of one session."""
        with open(self.folder / COSTS_FILE, "a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(dict(costs))}\n")

    def _write_replayed(self) -> None:
        """Replace the lines of failed episodes that were played again."""
        transcripts, lines = {}, {}
        for index, (result, transcript) in self._replayed.items():
            lines[index] = _line(result)
            if transcript is not None:
                transcripts[index] = transcript_line(transcript)
        for name, replaced in ((TRANSCRIPTS_FILE, transcripts), (RESULTS_FILE, lines)):
            if replaced:
                replace_lines(self.folder / name, replaced)
        self._replayed.clear()
        self._write_at = time.monotonic() + _WRITE_EVERY_S

    def _load_results(self) -> list[EpisodeResult]:
        """Read the complete episodes and remove what follows them from the files."""
        results = read_results(self.folder)
        transcripts = whole_lines(self.folder / TRANSCRIPTS_FILE)
        if transcripts:
            results = results[: len(transcripts)]
        for index, result in enumerate(results):
            if result.index != index:
                raise ValueError(
                    f"line {index + 1} of {self.folder / RESULTS_FILE} belongs to question "
                    f"{result.index}, expected {index}; two processes wrote it: delete the folder"
                )
        for name in (RESULTS_FILE, TRANSCRIPTS_FILE):
            truncate_lines(self.folder / name, len(results))
        return results


def read_results(folder: Path) -> list[EpisodeResult]:
    """Read the complete lines of an evaluation's results.

    Raises:
        ValueError: if a line is not a result.
    """
    path, results = folder / RESULTS_FILE, []
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            results.append(EpisodeResult(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number} is not the result of an episode ({error}); expected a line "
                "that `zerosearch evaluate` wrote: restore the file"
            ) from error
    return results


def _line(result: EpisodeResult) -> bytes:
    return json.dumps(asdict(result)).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFolder:
    """The content of one folder.

    Attributes:
        setting: agent, label, env, env_kwargs, seed, noise and fingerprint.
        results: of questions 0, 1, 2 and so on.
        set_name: name of the questions if they differ from the environment's default; else the
            environment's id.
    """

    folder: Path
    setting: Mapping[str, Any]
    results: tuple[EpisodeResult, ...]
    agent: str
    set_name: str

    @classmethod
    def read(cls, folder: str | Path, *, episodes: int | None = None) -> EvaluationFolder:
        """Read a folder, or only its first episodes, without changing it.

        Raises:
            ValueError: if the folder contains no evaluation, or a line of its results is damaged.
        """
        folder = local_path(folder)
        path = folder / SETTING_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} contains no {SETTING_FILE}; expected the --output folder of "
                "`zerosearch evaluate`, or a cell of `zerosearch sweep-noise`"
            )
        setting = read_settings(path)
        questions = (setting.get("env_kwargs") or {}).get("questions")
        return cls(
            folder=folder,
            setting=setting,
            results=tuple(read_results(folder))[:episodes],
            agent=str(setting.get("label") or setting.get("agent", "agent")),
            set_name=_spec_name(questions) if questions else str(setting.get("env", "")),
        )

    @property
    def engine_name(self) -> str:
        """Kind of the engine if it differs from the environment's default; else ""."""
        engine = (self.setting.get("env_kwargs") or {}).get("engine")
        return _spec_name(engine) if engine else ""

    def transcripts(self) -> Iterator[Transcript | None]:
        """Yield the transcript of each result, in order; None for each if none were written.

        Raises:
            ValueError: if a line is not a transcript, or there are fewer transcripts than results.
        """
        path = self.folder / TRANSCRIPTS_FILE
        if not path.exists():
            yield from repeat(None, len(self.results))
            return
        found = 0
        for transcript in islice(read_transcripts(path), len(self.results)):
            found += 1
            yield transcript
        if found < len(self.results):
            raise ValueError(
                f"{path} contains {found} transcripts for {len(self.results)} results; run the "
                "same `zerosearch evaluate` again, which plays the missing episodes"
            )


def _spec_name(spec: Any) -> str:
    """Return a short name of the questions or the engine of a spec."""
    if not isinstance(spec, Mapping):
        return str(spec)
    kind = str(spec.get("kind", ""))
    if kind == "subset" and "of" in spec:
        return _spec_name(spec["of"])
    if kind == "hub":
        return str(spec.get("name", kind))
    if kind == "file":
        paths = spec.get("path", kind)
        paths = [paths] if isinstance(paths, str) else paths
        return " + ".join(re.sub(_DATA_FILE_END, "", Path(path).name) for path in paths)
    if kind == "world" and "split" in spec:
        return f"{kind} {spec['split']}"
    return kind
