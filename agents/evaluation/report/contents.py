"""The contents of the HTML report: the figures of an evaluation, and the rows of its episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.statistics import Interval, bootstrap_ratio
from agents.evaluation.summary import Report, observed_noise
from zs_env.actions import Answer, Malformed, Open, Search
from zs_env.questions.hidden_answers import is_yes_no
from zs_env.search.types import Document
from zs_env.transcripts.transcript import Transcript, Turn

SHOWN_METRICS = ("f1", "exact_match", "cover_match", "searches", "malformed")
RESULT_COLUMNS = (
    "index",
    "prediction",
    "f1",
    "exact_match",
    "cover_match",
    "reward",
    "searches",
    "turns",
    "malformed",
    "reason",
    "failure",
    "documents",
    "noisy_documents",
)
# "evaluation" is its number in the report, "chunk" the number of the chunk with the transcript
# (None without one), and "place" the transcript's number in the chunk.
COLUMNS = ("evaluation", "chunk", "place", "question", "answers", *RESULT_COLUMNS)


@dataclass(slots=True)
class PageCounts:
    """Noise and counts of pages of each episode, collected transcript by transcript.

    The pages of yes/no questions have no answer labels.
    """

    noise: list[float] = field(default_factory=list)
    labeled: list[int] = field(default_factory=list)
    without_answer: list[int] = field(default_factory=list)

    def add(self, transcript: Transcript) -> None:
        """Count the pages of a transcript; failed episodes are ignored."""
        if transcript.failure is not None:
            return
        pages = [
            [document.contains_answer for document in turn.documents] for turn in transcript.turns
        ]
        labeled = [page for page in pages if page and None not in page]
        self.noise.append(transcript.noise_probability)
        self.labeled.append(len(labeled))
        self.without_answer.append(sum(not any(page) for page in labeled))

    def requested_noise(self, setting: Mapping[str, Any]) -> float | None:
        """Return the noise probability of the setting, or else the mean over the episodes."""
        if setting.get("noise") is not None:
            return float(setting["noise"])
        return sum(self.noise) / len(self.noise) if self.noise else None


def evaluation_figures(evaluation: EvaluationFolder, pages: PageCounts) -> dict[str, Any]:
    """Return an evaluation's figures as JSON values; an interval is [mean, low, high] or null."""
    report = Report.of(evaluation.results, setting=evaluation.setting)
    searches = Counter(result.searches for result in evaluation.results if result.failure is None)
    return {
        "agent": evaluation.agent,
        "set": evaluation.set_name,
        "engine": evaluation.engine_name,
        "noise": pages.requested_noise(evaluation.setting),
        "folder": str(evaluation.folder),
        "setting": dict(evaluation.setting),
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "failure_rate": _ends(report.failure_rate),
        **{name: _ends(report.metrics[name]) for name in SHOWN_METRICS},
        "reasons": dict(report.reasons),
        "searches_counts": [searches[number] for number in range(max(searches, default=-1) + 1)],
        "noisy_share": _ends(observed_noise(evaluation.results)),
        "unanswering_share": _ends(bootstrap_ratio(pages.without_answer, pages.labeled)),
    }


def with_unique_names(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the folder to the agent's name where agent, set, engine and noise are not unique.

    This happens with two seeds of one agent on the same questions. It is also added to the names of
    different agents with one label.
    """
    identities = [
        tuple(one[name] for name in ("agent", "set", "engine", "noise")) for one in figures
    ]
    agents = {(one["agent"], one["setting"].get("agent")) for one in figures}
    num_agents = Counter(label for label, _ in agents)
    named = []
    for one, identity in zip(figures, identities, strict=True):
        unique = identities.count(identity) == 1 and num_agents[one["agent"]] == 1
        agent = one["agent"] if unique else f"{one['agent']} ({one['folder']})"
        named.append({**one, "agent": agent})
    return named


def _ends(interval: Interval) -> list[float | None] | None:
    return None if interval.mean is None else [interval.mean, interval.low, interval.high]


def transcript_view(transcript: Transcript, number: Callable[[Document], int]) -> dict[str, Any]:
    """Return the transcript that opens with a row, as JSON values.

    `number` stores a document and returns its number: many episodes often show the same one.
    """
    question, verdict = transcript.question, transcript.verdict
    return {
        "prompt": transcript.prompt,
        "seed": transcript.seed,
        "id": question.id,
        "metadata": dict(question.metadata),
        # The word "yes" in a document is not an answer to the question.
        "marked": [] if is_yes_no(question.answers) else list(question.answers),
        "reward_terms": [list(term) for term in transcript.reward_terms],
        "verdict": verdict and {"value": verdict.value, "text": verdict.text},
        "max_turns": transcript.max_turns,
        "noise": transcript.noise_probability,
        "turns": [_turn_view(turn, number) for turn in transcript.turns],
    }


def _turn_view(turn: Turn, number: Callable[[Document], int]) -> dict[str, Any]:
    view: dict[str, Any] = {"text": turn.text}
    match turn.action:
        case Search(query):
            view |= {"kind": "search", "query": query, "sent": turn.request is not None}
            if turn.request is not None and turn.request.num_left_out:
                view["left_out"] = turn.request.num_left_out
        case Open():
            view |= {"kind": "open", "sent": turn.is_open}
        case Answer():
            view |= {"kind": "answer"}
        case Malformed(kind):
            view |= {"kind": "malformed", "malformed": kind}
    if turn.documents:
        view["documents"] = [number(document) for document in turn.documents]
    elif turn.message:
        view["message"] = turn.message
    return view
