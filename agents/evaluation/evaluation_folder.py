"""An evaluation read back from the folder that `agents.evaluation.record` wrote, and left as it is.

An evaluation that still runs, or was killed, can be read: what counts is its whole lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.record import RESULTS_FILE, SETTING_FILE, TRANSCRIPTS_FILE
from agents.storage.settings_file import read_setting
from zs_env.transcripts.storage import read_transcripts
from zs_env.transcripts.transcript import Transcript

_DATA_FILE_END = r"(\.jsonl|\.json|\.parquet)?(\.gz)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFolder:
    """What one folder holds.

    Attributes:
        folder: where it lies.
        setting: agent, env, seed, noise and env_kwargs.
        results: of questions 0, 1, 2 and so on.
        agent: what the agent is called.
        set_name: name of the questions where others than the environment's were asked for; else
            the environment's id.
    """

    folder: Path
    setting: Mapping[str, Any]
    results: tuple[EpisodeResult, ...]
    agent: str
    set_name: str

    @classmethod
    def read(
        cls,
        folder: str | Path,
        *,
        episodes: int | None = None,
        agent: str | None = None,
        set_name: str | None = None,
    ) -> EvaluationFolder:
        """Read a folder.

        Args:
            folder: that an evaluation was written to.
            episodes: the first ones; all by default.
            agent: what to call the agent; as it was called by default.
            set_name: what to call the questions; as their spec says by default.

        Raises:
            ValueError: if it is none of an evaluation, or a line of its results is of another form.
        """
        folder = Path(folder)
        path = folder / SETTING_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} holds no {SETTING_FILE}; expected a folder that `zerosearch evaluate` "
                "wrote, see its --output"
            )
        setting = read_setting(path)
        questions = _env_kwargs(setting).get("questions")
        played = _spec_name(questions) if questions else str(setting.get("env", ""))
        return cls(
            folder=folder,
            setting=setting,
            results=tuple(_read_results(folder / RESULTS_FILE))[:episodes],
            agent=agent or str(setting.get("agent", "agent")),
            set_name=set_name or played,
        )

    @property
    def engine_name(self) -> str:
        """Kind of the engine where another than the environment's was asked for; "" elsewhere."""
        engine = _env_kwargs(self.setting).get("engine")
        return _spec_name(engine) if engine else ""

    def transcripts(self) -> Iterator[Transcript | None]:
        """Yield the transcript of each result, in order; None for each where none were kept.

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
                f"{path} holds {found} transcripts for {len(self.results)} results; run the same "
                "`zerosearch evaluate` again, which plays what is missing"
            )


def _read_results(path: Path) -> Iterator[EpisodeResult]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return  # a writer that still runs or was killed left it
        try:
            yield EpisodeResult(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: got no result of an episode ({error}); expected one that "
                "`zerosearch evaluate` wrote: restore the file"
            ) from error


def _env_kwargs(setting: Mapping[str, Any]) -> Mapping[str, Any]:
    return setting.get("env_kwargs") or {}


def _spec_name(spec: Any) -> str:
    """Return the shortest name that says which questions or which engine a spec means."""
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
