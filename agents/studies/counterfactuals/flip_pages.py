"""Flips the pages of an evaluation one at a time, to measure what each page changes.

Each recorded episode is played again with one page flipped: noisy instead of useful, or the
reverse. The agent continues from there, and the change of the reward is attributed to the page.
Fixed are the question, the agent, everything before the page, the seeds of agent and episode, and
the seed of the page. A later search with the same query therefore gets the same random draws; a
search with another query gets its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import fingerprint
from agents.env_pool import EnvPool, open_vector
from agents.evaluation.episodes import play_episodes
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.progress import ProgressBar
from agents.storage.output_folder import folder_lock
from agents.studies.counterfactuals.flipped_page import FlippedPage
from agents.studies.counterfactuals.record import CounterfactualRecord
from agents.studies.counterfactuals.replay import check_replay, check_replay_until
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv


def page_turns(transcript: Transcript) -> list[int]:
    """Return the numbers of the turns that got a page; none if a failure ended the episode."""
    if transcript.failure is not None:
        return []
    return [n for n, turn in enumerate(transcript.turns) if turn.request is not None]


def flip_pages(
    agent: Agent,
    evaluation: EvaluationFolder,
    output: str | Path,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    console: Console | None = None,
) -> list[FlippedPage]:
    """Flip every page of an evaluation, each in its own episode.

    First every episode is replayed without a change and must equal the recorded one. Pages that
    the output folder contains already are not flipped again.

    Args:
        agent: the evaluated one.
        evaluation: with transcripts; engine and agent must be deterministic given their seeds.
        output: folder for the pages and their transcripts.
        concurrency: episodes played at once.
        console: where progress is shown.

    Returns:
        The pages, by question and turn.

    Raises:
        ValueError: if the agent is not the evaluated one, an episode is not replayed as recorded,
            the evaluation has no transcripts, or the folder contains other files.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    _check_agent(agent, evaluation.setting)
    transcripts = _transcripts(evaluation)
    with folder_lock(Path(output)):
        record = CounterfactualRecord(Path(output), evaluation.setting)
        done = {(page.index, page.turn) for page in record.pages}
        missing = [
            (index, turn)
            for index, transcript in enumerate(transcripts)
            for turn in page_turns(transcript)
            if (index, turn) not in done
        ]
        if missing:
            setting, num_envs = evaluation.setting, min(concurrency, len(transcripts))
            with closing(open_vector(setting["env"], num_envs, setting["env_kwargs"])) as vector:
                replays = _Replays(agent, vector, setting, transcripts, console)
                replays.check(sorted({index for index, _ in missing}))
                for turn in sorted({turn for _, turn in missing}):
                    indices = [index for index, number in missing if number == turn]
                    for page, transcript in replays.flip(turn, indices):
                        record.add(page, transcript)
    pages = [page for page in record.pages if page.index < len(transcripts)]
    return sorted(pages, key=lambda page: (page.index, page.turn))


def _transcripts(evaluation: EvaluationFolder) -> list[Transcript]:
    transcripts = [one for one in evaluation.transcripts() if one is not None]
    if len(transcripts) < len(evaluation.results):
        raise ValueError(
            f"{evaluation.folder} contains no transcripts; flipping pages needs an environment "
            "that keeps them"
        )
    return transcripts


def _check_agent(agent: Agent, setting: Mapping[str, Any]) -> None:
    recorded, current = setting.get("fingerprint"), fingerprint(agent)
    if recorded is not None and recorded != current:
        raise ValueError(
            f"agent {setting['agent']!r} is not the one that was evaluated (fingerprint {current}, "
            f"recorded {recorded}); evaluate it again"
        )


class _Replays:
    """Replays episodes of an evaluation, unchanged or with one page flipped."""

    def __init__(
        self,
        agent: Agent,
        vector: ZeroSearchVectorEnv,
        setting: Mapping[str, Any],
        transcripts: Sequence[Transcript],
        console: Console | None,
    ) -> None:
        self._agent, self._vector, self._setting = agent, vector, setting
        self._transcripts = transcripts
        self._console = console or Console(quiet=True)

    def check(self, indices: Sequence[int]) -> None:
        """Replay episodes. Raises ValueError if one differs from the recorded one."""
        for index, transcript in self._play(indices, "replayed without a change", None):
            check_replay(self._transcripts[index], transcript)

    def flip(self, turn: int, indices: Sequence[int]) -> Iterator[tuple[FlippedPage, Transcript]]:
        """Replay episodes with the page of one turn flipped; yield each when it ends."""
        for index, transcript in self._play(indices, f"page of turn {turn} flipped", turn):
            recorded = self._transcripts[index]
            check_replay_until(recorded, transcript, turn)
            yield FlippedPage.of(index, turn, recorded, transcript), transcript

    def _play(
        self, indices: Sequence[int], label: str, flipped_turn: int | None
    ) -> Iterator[tuple[int, Transcript]]:
        seed, noise = self._setting["seed"], self._setting["noise"]
        options = {"noise_probability": noise, "flipped_turn": flipped_turn}
        pool = EnvPool(self._vector, options=options)
        with ProgressBar(self._console, label, total=len(indices)) as bar:
            for result, transcript in play_episodes(self._agent, pool, indices, seed=seed):
                assert transcript is not None, "our environments keep transcripts"
                bar.episode(result)
                yield result.index, transcript
