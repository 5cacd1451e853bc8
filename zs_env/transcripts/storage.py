"""Saves transcripts as JSON lines, loads them, scores them again, and forks new episodes.

Only one process may write to a file at a time. An unfinished last line, left by a process that was
killed, is removed before the next write.
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
from zs_env.text.paths import local_path
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.transcript import Transcript


def append_transcripts(path: str | Path, transcripts: Iterable[Transcript]) -> None:
    """Append transcripts to a file, which is created if it does not exist.

    The file is unbuffered: a transcript is not lost if the process is killed after it is written.

    Raises:
        OSError: if the file cannot be written; `load_transcripts` skips an unfinished line.
        TypeError: if metadata of a question or document is not JSON.
    """
    path = local_path(path)
    _repair_end(path)
    with path.open("ab", buffering=0) as file:
        for transcript in transcripts:
            line = transcript_line(transcript)
            while line:  # an unbuffered write may be partial
                line = line[file.write(line) :]


def transcript_line(transcript: Transcript) -> bytes:
    """Return a transcript as a line of JSON that ends in a newline."""
    return json.dumps(transcript_to_json(transcript)).encode() + b"\n"


def load_transcripts(path: str | Path) -> list[Transcript]:
    """Return all transcripts of a file; see `read_transcripts`."""
    return list(read_transcripts(path))


def read_transcripts(path: str | Path) -> Iterator[Transcript]:
    """Yield the transcripts of a file; an unfinished last line is skipped with a warning.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if another line is not a transcript, with file, line and fix.
    """
    with local_path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    warnings.warn(
                        f"{path}, line {number}: skipped, because the line is incomplete",
                        stacklevel=2,
                    )
                    return
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error}); remove the line or restore the "
                    "file"
                ) from error
            try:
                transcript = transcript_from_json(value if isinstance(value, dict) else {})
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            yield transcript


def rescore(transcript: Transcript, reward: RewardFunction) -> Transcript:
    """Return the transcript with the terms of another reward.

    An unfinished or failed episode has no reward terms. If the reward has a judge, its verdict on
    the answer is kept if the transcript has it; otherwise the judge is called, also for an episode
    that only a judge has failed. `reward.judge.judged(transcripts)` calls it for many transcripts
    at once.
    """
    judge = getattr(reward, "judge", None)
    if judge is not None:
        (transcript,) = judge.judged([transcript])
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
    """Restore an episode up to one of its searches, so that it continues with another page.

    The prompt, the turns before and the request of the search are those of the transcript. The
    seeds of later searches are those of the original episode if `noise_draw` is the same.

    Args:
        transcript: the original episode.
        turn: index of the turn with the search, from 0.
        page: the new page; None leaves the search pending (see `episode.pending`).
        config: the rules of the new episode; None for the defaults with the `max_turns`,
            `num_documents`, `tools` and `max_queries` of the transcript. Other settings are not
            part of it.

    Raises:
        ValueError: if the turn has no search that was sent, or would not send it under `config`.
    """
    if not 0 <= turn < len(transcript.turns) or transcript.turns[turn].request is None:
        searches = [n for n, past in enumerate(transcript.turns) if past.request is not None]
        raise ValueError(
            f"turn {turn} of question {transcript.question.id!r} has no search that was sent, "
            f"expected one of the turns {searches}"
        )
    episode = Episode(
        transcript.question,
        config=config
        or EpisodeConfig(
            max_turns=transcript.max_turns,
            num_documents=transcript.num_documents,
            tools=transcript.tools,
            max_queries=transcript.max_queries,
        ),
        noise_probability=transcript.noise_probability,
        seed=transcript.seed,
    )
    episode.restore(transcript.prompt, transcript.turns[:turn])
    recorded = transcript.turns[turn]
    if recorded.request is None or not isinstance(episode.act(recorded.text), SearchRequest):
        raise ValueError(
            f"turn {turn} does not send a search under this config; allow the turns and characters "
            f"of the transcript (max_turns={transcript.max_turns})"
        )
    episode.replace_pending_request(recorded.request)
    if page is not None:
        episode.receive(page)
    return episode


def _repair_end(path: Path) -> None:
    """Complete a last line that lacks only its newline, and remove an incomplete one."""
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
            warnings.warn(f"{path}: removed the last line, which is incomplete", stacklevel=3)
            file.truncate(start)
        else:
            file.write(b"\n")
