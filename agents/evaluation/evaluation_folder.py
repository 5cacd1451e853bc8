"""Reads the folder of an evaluation without changing it.

An evaluation that is running or was killed can be read too: incomplete lines are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.record import SETTING_FILE, TRANSCRIPTS_FILE, read_results
from agents.storage.output_folder import read_settings
from zs_env.transcripts.storage import read_transcripts
from zs_env.transcripts.transcript import Transcript

_DATA_FILE_END = r"(\.jsonl|\.json|\.parquet)?(\.gz)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFolder:
    """The content of one folder.

    Attributes:
        folder: its path.
        setting: agent, env, env_kwargs, seed, noise and fingerprint.
        results: of questions 0, 1, 2 and so on.
        agent: name of the agent.
        set_name: name of the questions if they differ from the environment's default; else the
            environment's id.
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
            folder: written by an evaluation.
            episodes: number of first episodes to read; all by default.
            agent: name of the agent; the recorded one by default.
            set_name: name of the questions; derived from their spec by default.

        Raises:
            ValueError: if the folder contains no evaluation, or a line of its results is damaged.
        """
        folder = Path(folder)
        path = folder / SETTING_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} contains no {SETTING_FILE}; expected the --output folder of "
                "`zerosearch evaluate`, or a cell of `zerosearch sweep-noise`"
            )
        setting = read_settings(path)
        questions = _env_kwargs(setting).get("questions")
        default_name = _spec_name(questions) if questions else str(setting.get("env", ""))
        return cls(
            folder=folder,
            setting=setting,
            results=tuple(read_results(folder))[:episodes],
            agent=agent or str(setting.get("agent", "agent")),
            set_name=set_name or default_name,
        )

    @property
    def engine_name(self) -> str:
        """Kind of the engine if it differs from the environment's default; else ""."""
        engine = _env_kwargs(self.setting).get("engine")
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


def _env_kwargs(setting: Mapping[str, Any]) -> Mapping[str, Any]:
    return setting.get("env_kwargs") or {}


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
