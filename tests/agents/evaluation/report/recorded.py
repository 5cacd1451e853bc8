"""Writes evaluation folders for tests, without playing episodes."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluation_folder import RESULTS_FILE, TRANSCRIPTS_FILE, EvaluationRecord
from zs_env import Document, Question
from zs_env.actions import Answer, Malformed, Search
from zs_env.search.types import SearchRequest
from zs_env.transcripts.storage import append_transcripts
from zs_env.transcripts.transcript import Transcript, Turn

USEFUL = Document(text="The tower was built by Ann, in 1901.", useful=True, contains_answer=True)
NOISY = Document(text="The bridge was built by Bob.", useful=False, contains_answer=False)


def record_evaluation(
    folder: Path, transcripts: Iterable[Transcript], *, agent="reader", noise=0.0, env_kwargs=None
) -> Path:
    """Write transcripts and results in the format of an evaluation; return the folder."""
    setting = {"agent": agent, "env": "ZeroSearch-v0", "seed": 0, "noise": noise}
    EvaluationRecord(folder, {**setting, "env_kwargs": env_kwargs or {}, "fingerprint": None})
    whole = list(transcripts)
    append_transcripts(folder / TRANSCRIPTS_FILE, whole)
    record_results(folder, (EpisodeResult.from_transcript(*pair) for pair in enumerate(whole)))
    return folder


def record_results(folder: Path, results: Iterable[EpisodeResult]) -> None:
    """Write results in the format of an evaluation."""
    with (folder / RESULTS_FILE).open("a", encoding="utf-8") as lines:
        lines.writelines(f"{json.dumps(asdict(result))}\n" for result in results)


def answered(
    question="Who built the tower?",
    *,
    golds=("Ann",),
    answer="Ann",
    documents=(USEFUL, NOISY),
    noise=0.0,
) -> Transcript:
    """Return an episode with one search, the given page, and an answer."""
    searched, given = f"<search>{question}</search>", f"<answer>{answer}</answer>"
    text = {"id": question, "text": question, "answers": golds}
    request = SearchRequest(question, question, golds, tuple(one.useful for one in documents), 1)
    return _ended(
        Turn(searched, Search(question), request, documents, "\n<information>…"),
        Turn(given, Answer(answer)),
        question=Question(**text, metadata={"hops": 1}),
        reason="answer",
        noise_probability=noise,
        reward_terms=(("f1", 1.0),),
    )


def malformed(question="Who built the wall?") -> Transcript:
    """Return an episode with malformed actions only, until the turn limit."""
    turn = Turn("Hm.", Malformed("no_action"), message="\nI wrote neither.\n")
    return _ended(
        turn,
        turn,
        question=Question(id="wall", text=question, answers=("Cid",)),
        reason="turn_limit",
        reward_terms=(("f1", 0.0),),
    )


def faulty(question="Who built the gate?", failure="the engine fell over") -> Transcript:
    """Return an episode whose only search failed."""
    request = SearchRequest("gate", question, ("Dee",), (True,), 1)
    return _ended(
        Turn("<search>gate</search>", Search("gate"), request),
        question=Question(id="gate", text=question, answers=("Dee",)),
        reason="failure",
        failure=failure,
    )


def _ended(*turns: Turn, question: Question, **fields) -> Transcript:
    return Transcript(question=question, prompt=f"Q: {question.text}\n", turns=turns, **fields)
