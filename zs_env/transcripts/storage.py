"""Transcripts kept as JSON lines: saved, loaded, scored again, and forked into new episodes.

A line is a whole transcript. One writer at a time: what a killed writer left unfinished at the end
of the file is cut off by the next one.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from zs_env.episode import Episode, EpisodeConfig
from zs_env.rewards import RewardFunction
from zs_env.search.types import SearchPage, SearchRequest
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.transcript import Transcript


def append_transcripts(path: str | Path, transcripts: Iterable[Transcript]) -> None:
    """Write transcripts to the end of a file, made where it is missing.

    Each is in the operating system's hands, safe from a kill, before the next is turned to.

    Raises:
        OSError: if the file cannot be written; what was written of the last line is skipped by
            `load_transcripts`.
        TypeError: if metadata of a question or document is not JSON.
    """
    path = Path(path)
    _mend_end(path)
    with path.open("ab", buffering=0) as file:
        for transcript in transcripts:
            line = transcript_line(transcript)
            while line:  # an unbuffered write may take only a part
                line = line[file.write(line) :]


def transcript_line(transcript: Transcript) -> bytes:
    """Return the line that stands for a transcript, its end included.

    Raises:
        TypeError: if metadata of a question or document is not JSON.
    """
    return json.dumps(transcript_to_json(transcript)).encode() + b"\n"


def load_transcripts(path: str | Path) -> list[Transcript]:
    """Read all transcripts of a file; see `read_transcripts`."""
    return list(read_transcripts(path))


def read_transcripts(path: str | Path) -> Iterator[Transcript]:
    """Yield the transcripts of a file one by one.

    A last line that was cut off, as a kill leaves it, is skipped with a warning.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if another line is not a transcript, naming file, line and fix.
    """
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    warnings.warn(
                        f"{path}, line {number} is cut off, as when its writer was killed; skipped",
                        stacklevel=2,
                    )
                    return
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error}); the file is damaged: remove the "
                    "line or restore the file"
                ) from error
            try:
                transcript = transcript_from_json(value if isinstance(value, dict) else {})
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            yield transcript


def rescore(transcript: Transcript, reward: RewardFunction) -> Transcript:
    """Return the transcript with the terms of another reward.

    What has not ended and what a failure ended stays without reward.
    """
    if transcript.reason in (None, "failure"):
        return replace(transcript, reward_terms=())
    return replace(transcript, reward_terms=tuple(reward(transcript).items()))


def fork(
    transcript: Transcript,
    turn: int,
    *,
    page: SearchPage | None = None,
    config: EpisodeConfig | None = None,
) -> Episode:
    """Take an episode back to one of its searches, to go on from another page.

    All before it is as recorded, prompt and pages included, and the search asks for what it asked
    for. Later ones draw their luck as the recorded ones did where `config` has their `noise_draw`.

    Args:
        transcript: what happened.
        turn: number of the search, from 0 over all turns.
        page: what the search finds this time; where None the episode waits for `receive` (its
            request is `episode.pending`).
        config: rules from here on; where None the default ones with the recorded `max_turns` and
            `num_documents`. Reward, notices and `noise_draw` are not recorded: pass them where they
            were others.

    Raises:
        ValueError: if the turn is not a search that was sent, or would not be under `config`.
    """
    if not 0 <= turn < len(transcript.turns) or transcript.turns[turn].request is None:
        searches = [n for n, past in enumerate(transcript.turns) if past.request is not None]
        raise ValueError(
            f"turn {turn} of question {transcript.question.id!r} is not a search that was sent; "
            f"fork at one of {searches}"
        )
    episode = Episode(
        transcript.question,
        config=config
        or EpisodeConfig(max_turns=transcript.max_turns, num_documents=transcript.num_documents),
        noise_probability=transcript.noise_probability,
        seed=transcript.seed,
    )
    episode.restore(transcript.prompt, transcript.turns[:turn])
    recorded = transcript.turns[turn]
    if recorded.request is None or not isinstance(episode.act(recorded.text), SearchRequest):
        raise ValueError(
            f"under this config turn {turn} is no search that is sent; allow as many turns and "
            f"characters as were recorded (max_turns={transcript.max_turns})"
        )
    episode.replace_pending_request(recorded.request)
    if page is not None:
        episode.receive(page)
    return episode


def _mend_end(path: Path) -> None:
    """Complete a last line that lacks only its end, and cut one that was torn."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        start = file.read().rfind(b"\n") + 1
        file.seek(start)
        try:
            json.loads(file.read())
        except ValueError:
            warnings.warn(f"{path}: its last line was cut off and is removed", stacklevel=3)
            file.truncate(start)
        else:
            file.write(b"\n")
