"""Flips the pages of an evaluation one at a time, to measure what each page changes.

Each recorded episode is played again with one page flipped: noisy instead of useful, or the
reverse. The agent continues from there, and the change of the reward is attributed to the page.
Fixed are the question, the agent, everything before the page, the seeds of agent and episode, and
the seed of the page. A later search with the same query therefore gets the same random draws; a
search with another query gets its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import fingerprint
from agents.env_pool import EnvPool, open_vector
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY, play_episodes
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.progress import ProgressBar
from agents.specs import served_models
from agents.storage.output_folder import ensure_settings, folder_lock, truncate_lines, whole_lines
from zs_env.search.types import SearchRequest
from zs_env.text.paths import local_path
from zs_env.transcripts.storage import append_transcripts
from zs_env.transcripts.transcript import Transcript, Turn
from zs_env.vector_env import ZeroSearchVectorEnv

PAGES_FILE = "pages.jsonl"
PageKind = Literal["useful", "noisy", "mixed"]
_OPPOSITE: dict[PageKind, PageKind] = {"useful": "noisy", "noisy": "useful", "mixed": "mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedPage:
    """One flipped page of a recorded episode.

    Attributes:
        index: number of the question in its set, from 0.
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


def page_turns(transcript: Transcript) -> list[int]:
    """Return the numbers of the searches that got a page; none if a failure ended the episode."""
    if transcript.failure is not None:
        return []
    return [n for n, turn in enumerate(transcript.turns) if turn.is_search]


def flip_pages(
    agent: Agent,
    evaluation: EvaluationFolder,
    output: str | Path,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    fresh: bool = False,
    console: Console | None = None,
) -> list[FlippedPage]:
    """Flip every page of an evaluation, each in its own episode.

    First every episode is replayed without a change and must equal the recorded one. Pages that
    the output folder contains already are not flipped again.

    Args:
        agent: the evaluated one; agent and engine must be deterministic given their seeds.
        evaluation: with transcripts.
        output: folder for the pages and their transcripts.
        concurrency: episodes played at once.
        fresh: delete the pages in the output folder first.
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
    transcripts = [one for one in evaluation.transcripts() if one is not None]
    if len(transcripts) < len(evaluation.results):
        raise ValueError(
            f"{evaluation.folder} contains no transcripts; flipping pages needs an environment "
            "that keeps them"
        )
    output = local_path(output)
    with folder_lock(output):
        record = _Record(output, setting, fresh=fresh)
        done = {(page.index, page.turn) for page in record.pages}
        missing = [
            (index, turn)
            for index, transcript in enumerate(transcripts)
            for turn in page_turns(transcript)
            if (index, turn) not in done
        ]
        if missing:
            served_models(setting["env_kwargs"])
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
    unchanged = flipped_turn is None
    label = "replayed without a change" if unchanged else f"page of turn {flipped_turn} flipped"
    options = {"noise_probability": setting["noise"], "flipped_turn": flipped_turn}
    pool = EnvPool(vector, options=options)
    with ProgressBar(console or Console(quiet=True), label, total=len(indices)) as bar:
        for result, transcript in play_episodes(agent, pool, indices, seed=setting["seed"]):
            assert transcript is not None, "our environments keep transcripts"
            bar.episode(result)
            yield result.index, transcript


class _Record:
    """Stores the flipped pages of one evaluation and their transcripts, line i of each file."""

    def __init__(self, folder: Path, setting: Mapping[str, Any], *, fresh: bool) -> None:
        self._pages, self._transcripts = folder / PAGES_FILE, folder / "transcripts.jsonl"
        files = [self._pages, self._transcripts]
        path = folder / "counterfactuals.json"
        ensure_settings(path, setting, what="counterfactual study", files=files, fresh=fresh)
        count = min(len(whole_lines(file)) for file in files)
        for file in files:
            truncate_lines(file, count)
        self.pages = [FlippedPage(**json.loads(line)) for line in whole_lines(self._pages)]

    def add(self, page: FlippedPage, transcript: Transcript) -> None:
        append_transcripts(self._transcripts, [transcript])
        with open(self._pages, "a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(asdict(page))}\n")
        self.pages.append(page)


def check_replay(recorded: Transcript, replayed: Transcript) -> None:
    """Raise a ValueError with the first difference and its remedy if an episode differs."""
    if replayed == recorded:
        return
    if (recorded.question, recorded.prompt) != (replayed.question, replayed.prompt):
        reason = "its question or prompt differs; the questions or the package have changed"
    elif difference := _first_different_turn(recorded.turns, replayed.turns):
        reason = difference
    elif len(recorded.turns) != len(replayed.turns):
        reason = f"it takes {len(replayed.turns)} turns, recorded {len(recorded.turns)}"
    elif recorded.reward_terms != replayed.reward_terms:
        reason = f"its reward is {replayed.reward_terms}, recorded {recorded.reward_terms}"
    else:
        reason = (
            f"its rules or its seed differ: {_rules(replayed)}, recorded {_rules(recorded)}; "
            "evaluate again"
        )
    raise ValueError(f"question {recorded.question.id!r} is not replayed as recorded: {reason}")


def check_replay_until(recorded: Transcript, flipped: Transcript, turn: int) -> None:
    """Check an episode up to the search whose page was flipped.

    Raises:
        ValueError: if it differs, or the search did not request the opposite page.
    """
    request = recorded.turns[turn].request
    difference = _first_different_turn(recorded.turns[:turn], flipped.turns[:turn])
    if difference is None and len(flipped.turns) <= turn:
        difference = f"it ended before turn {turn} ({flipped.failure or flipped.reason})"
    if difference is None and flipped.turns[turn].text != recorded.turns[turn].text:
        difference = _different_text(turn, recorded.turns[turn], flipped.turns[turn])
    if difference is None and not _is_flipped(request, flipped.turns[turn].request):
        difference = f"turn {turn} did not request the opposite of {request}"
    if difference is not None:
        raise ValueError(
            f"question {recorded.question.id!r}, before its flipped page, is not replayed as "
            f"recorded: {difference}"
        )


def _is_flipped(request: SearchRequest | None, flipped: SearchRequest | None) -> bool:
    """Whether a request asks for the opposite of another, with any kind of noise."""
    if request is None or flipped is None:
        return False
    return _without_kinds(flipped) == _without_kinds(request.flipped())


def _without_kinds(request: SearchRequest) -> SearchRequest:
    queries = tuple(map(_without_kinds, request.queries))
    return replace(request, noise_kind="irrelevant", queries=queries)


def _rules(transcript: Transcript) -> tuple[object, ...]:
    names = (
        "noise_probability",
        "seed",
        "max_turns",
        "num_documents",
        "tools",
        "max_queries",
        "reason",
    )
    return tuple(getattr(transcript, name) for name in names)


def _first_different_turn(recorded: Sequence[Turn], replayed: Sequence[Turn]) -> str | None:
    """Explain the first difference between the turns that both have; None without one."""
    for number, (before, after) in enumerate(zip(recorded, replayed, strict=False)):
        if before == after:
            continue
        if before.text != after.text:
            return _different_text(number, before, after)
        if before.request != after.request:
            return f"the search of turn {number} is {after.request}, recorded {before.request}"
        if not after.message:
            return f"the engine returned no page at turn {number}; run the command again"
        return (
            f"the engine returned another page at turn {number} for the same request; wrap it in a "
            'cache, {"kind": "cache", "path": FILE, "engine": ...}, and evaluate again'
        )
    return None


def _different_text(number: int, before: Turn, after: Turn) -> str:
    return (
        f"at turn {number} the agent wrote {_short(after.text)}, recorded {_short(before.text)}; "
        "its text must depend only on the seed of `reset` and on its observations"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
