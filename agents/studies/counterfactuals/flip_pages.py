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
from functools import partial
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
from agents.studies.counterfactuals.flipped_page import CounterfactualRecord, FlippedPage
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
    setting = evaluation.setting
    recorded_agent, current = setting.get("fingerprint"), fingerprint(agent)
    if recorded_agent not in (None, current):
        raise ValueError(
            f"agent {setting['agent']!r} is not the one that was evaluated (fingerprint {current}, "
            f"recorded {recorded_agent}); evaluate it again"
        )
    transcripts = _transcripts(evaluation)
    with folder_lock(Path(output)):
        record = CounterfactualRecord(Path(output), setting)
        done = {(page.index, page.turn) for page in record.pages}
        missing = [
            (index, turn)
            for index, transcript in enumerate(transcripts)
            for turn in page_turns(transcript)
            if (index, turn) not in done
        ]
        if missing:
            num_envs = min(concurrency, len(transcripts))
            replay = partial(_replay, agent, setting=setting, console=console)
            with closing(open_vector(setting["env"], num_envs, setting["env_kwargs"])) as vector:
                indices = sorted({index for index, _ in missing})
                for index, transcript in replay(vector, indices, flipped_turn=None):
                    check_replay(transcripts[index], transcript)
                for turn in sorted({turn for _, turn in missing}):
                    indices = [index for index, number in missing if number == turn]
                    for index, transcript in replay(vector, indices, flipped_turn=turn):
                        recorded = transcripts[index]
                        check_replay_until(recorded, transcript, turn)
                        record.add(FlippedPage.of(index, turn, recorded, transcript), transcript)
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


def _replay(
    agent: Agent,
    vector: ZeroSearchVectorEnv,
    indices: Sequence[int],
    *,
    flipped_turn: int | None,
    setting: Mapping[str, Any],
    console: Console | None,
) -> Iterator[tuple[int, Transcript]]:
    """Replay episodes of an evaluation, unchanged or with the page of one turn flipped."""
    label = "replayed without a change"
    if flipped_turn is not None:
        label = f"page of turn {flipped_turn} flipped"
    options = {"noise_probability": setting["noise"], "flipped_turn": flipped_turn}
    pool = EnvPool(vector, options=options)
    with ProgressBar(console or Console(quiet=True), label, total=len(indices)) as bar:
        for result, transcript in play_episodes(agent, pool, indices, seed=setting["seed"]):
            assert transcript is not None, "our environments keep transcripts"
            bar.episode(result)
            yield result.index, transcript
