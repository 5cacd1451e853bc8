"""Pages flipped one at a time: what a useful page was worth, and what a noisy one cost.

Each recorded episode is played again with one page flipped, noisy in place of useful or the
reverse, and the agent goes on by itself from there; the change of its reward is the page's. Held
fixed: the question, the agent, everything before the page, the seeds of agent and episode, and the
page's own luck. So a later search of the same words meets the same luck; one of other words meets
luck of its own, and so do the tokens of an agent that draws them by what it has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import fingerprint
from agents.env_pool import EnvPool, open_vector
from agents.evaluation.episodes import play_episodes
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.evaluation.progress import EpisodeBar
from agents.evaluation.record import SETTING_FILE, TRANSCRIPTS_FILE
from agents.storage.folder_lock import folder_lock
from agents.storage.settings_file import read_setting
from agents.studies.counterfactuals.flipped_page import FlippedPage
from agents.studies.counterfactuals.record import CounterfactualRecord
from agents.studies.counterfactuals.replay import check_past, check_replay
from zs_env.transcripts.storage import read_transcripts
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvaluation:
    """The folder of an evaluation, read.

    Attributes:
        setting: what was evaluated: agent, env, env_kwargs, seed, noise, fingerprint.
        transcripts: of questions 0, 1, ...
    """

    setting: Mapping[str, Any]
    transcripts: Sequence[Transcript]

    @classmethod
    def load(cls, folder: str | Path, *, episodes: int | None = None) -> RecordedEvaluation:
        """Read the first episodes of an evaluation, all where None.

        Raises:
            ValueError: if the folder holds none, or none are asked for.
        """
        if episodes is not None and episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {episodes}")
        folder = Path(folder)
        for name in (SETTING_FILE, TRANSCRIPTS_FILE):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} has no {name}; give the --output folder of `zerosearch evaluate`, "
                    "or a cell of `zerosearch sweep-noise`"
                )
        setting = read_setting(folder / SETTING_FILE)
        transcripts = list(read_transcripts(folder / TRANSCRIPTS_FILE))
        return cls(setting=setting, transcripts=transcripts[:episodes])

    def searches(self, index: int) -> list[int]:
        """Numbers of the turns of an episode that got a page; none of one that a failure ended."""
        transcript = self.transcripts[index]
        if transcript.failure is not None:
            return []
        return [n for n, turn in enumerate(transcript.turns) if turn.request is not None]


def flip_pages(
    agent: Agent,
    recorded: RecordedEvaluation,
    output: str | Path,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    console: Console | None = None,
) -> list[FlippedPage]:
    """Flip every page of an evaluation, each in an episode of its own.

    First every episode is played as it was, and must go as recorded. Pages that `output` holds are
    not flipped again, so what was stopped goes on.

    Args:
        agent: the one that was evaluated.
        recorded: its evaluation; engine and agent must do the same again, given their seeds.
        output: folder of the pages and their transcripts.
        concurrency: episodes played at once.
        console: where progress is shown.

    Returns:
        The pages, by question and turn.

    Raises:
        ValueError: if the agent is another, an episode does not go as recorded, or the folder
            holds other pages or anything else.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    _check_agent(agent, recorded.setting)
    with folder_lock(Path(output)):
        record = CounterfactualRecord(Path(output), recorded.setting)
        done = {(page.index, page.turn) for page in record.pages}
        left = [
            (index, turn)
            for index in range(len(recorded.transcripts))
            for turn in recorded.searches(index)
            if (index, turn) not in done
        ]
        if left:
            _flip(agent, recorded, left, record, concurrency, console or Console(quiet=True))
    pages = [page for page in record.pages if page.index < len(recorded.transcripts)]
    return sorted(pages, key=lambda page: (page.index, page.turn))


def _flip(
    agent: Agent,
    recorded: RecordedEvaluation,
    left: Sequence[tuple[int, int]],
    record: CounterfactualRecord,
    concurrency: int,
    console: Console,
) -> None:
    """Flip the pages of the given questions and turns, once their episodes go as recorded."""
    setting = recorded.setting
    num_slots = min(concurrency, len(recorded.transcripts))
    vector = open_vector(setting["env"], num_slots, setting["env_kwargs"])
    with closing(vector):
        players = _Replays(agent, vector, recorded, console)
        players.check(sorted({index for index, _ in left}))
        for turn in sorted({turn for _, turn in left}):
            indices = [index for index, number in left if number == turn]
            for page, transcript in players.flip(turn, indices):
                record.add(page, transcript)


def _check_agent(agent: Agent, setting: Mapping[str, Any]) -> None:
    recorded, is_now = setting.get("fingerprint"), fingerprint(agent)
    if recorded is not None and recorded != is_now:
        raise ValueError(
            f"agent {setting['agent']!r} is not the one that was evaluated (fingerprint {is_now}, "
            f"recorded {recorded}); evaluate it again"
        )


class _Replays:
    """Plays episodes of an evaluation again, as they were or with a page flipped."""

    def __init__(
        self,
        agent: Agent,
        vector: ZeroSearchVectorEnv,
        recorded: RecordedEvaluation,
        console: Console,
    ) -> None:
        self._agent, self._vector = agent, vector
        self._recorded, self._console = recorded, console

    def check(self, indices: Sequence[int]) -> None:
        """Play episodes as they were. Raises ValueError where one does not go as recorded."""
        for index, transcript in self._play(indices, "replayed as they were", None):
            check_replay(self._recorded.transcripts[index], transcript)

    def flip(self, turn: int, indices: Sequence[int]) -> Iterator[tuple[FlippedPage, Transcript]]:
        """Play episodes with the page of one turn flipped; yield each as it ends."""
        for index, transcript in self._play(indices, f"page of turn {turn} flipped", turn):
            recorded = self._recorded.transcripts[index]
            check_past(recorded, transcript, turn)
            yield FlippedPage.of(index, turn, recorded, transcript), transcript

    def _play(
        self, indices: Sequence[int], label: str, flipped_turn: int | None
    ) -> Iterator[tuple[int, Transcript]]:
        setting = self._recorded.setting
        options = {"noise_probability": setting["noise"], "flipped_turn": flipped_turn}
        pool = EnvPool(self._vector, options=options)
        with EpisodeBar(self._console, label) as bar:
            bar.start(len(indices), 0)
            for result, transcript in play_episodes(
                self._agent, pool, indices, seed=setting["seed"]
            ):
                assert transcript is not None  # our own environments keep one
                bar.episode(result)
                yield result.index, transcript
