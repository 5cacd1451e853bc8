"""What all figures of a benchmark are made of: a row an episode, read from its transcript alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.evaluation.record import TRANSCRIPTS_FILE
from agents.studies.benchmark.cell import Cell
from zs_env.metrics import F1Tokens, contains_answer, exact_match, f1_score, substring_match
from zs_env.transcripts.storage import read_transcripts
from zs_env.transcripts.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One agent on one question, once.

    Attributes:
        agent: what tables call it.
        set: name of the question set.
        repeat: from 0.
        question_id: within the set.
        prediction: the answer; None where none was given, which scores 0.
        exact_match: 0 or 1, as are the next two.
        cover_match: whether a gold answer stands in the prediction as whole words.
        substring_match: what the original reports as EM: see `zs_env.metrics.substring_match`.
        f1: in [0, 1].
        searches: sent to the engine.
        turns: actions taken.
        malformed: of them, those that were neither search nor answer.
        reason: "answer", "turn_limit" or "failure".
        failure: what went wrong with the engine; the episode is void then.
        documents: that were shown.
        noisy_documents: of them, those that were asked to be noise.
    """

    agent: str
    set: str
    repeat: int
    question_id: str
    prediction: str | None
    exact_match: float
    cover_match: float
    substring_match: float
    f1: float
    searches: int
    turns: int
    malformed: int
    reason: str
    failure: str | None
    documents: int
    noisy_documents: int

    @classmethod
    def of(cls, cell: Cell, transcript: Transcript, *, f1_tokens: F1Tokens = "words") -> Result:
        """Score a finished transcript."""
        documents = [document for turn in transcript.turns for document in turn.documents]
        return cls(
            agent=cell.agent,
            set=cell.set_name,
            repeat=cell.repeat,
            question_id=transcript.question.id,
            prediction=transcript.prediction,
            searches=transcript.num_searches,
            turns=len(transcript.turns),
            malformed=transcript.malformed.total(),
            reason=transcript.reason or "unfinished",
            failure=transcript.failure,
            documents=len(documents),
            noisy_documents=sum(document.useful is False for document in documents),
            **_scores(transcript, f1_tokens),
        )

    @property
    def malformed_share(self) -> float:
        """Of its actions, those that were neither search nor answer."""
        return self.malformed / self.turns

    @property
    def answered(self) -> float:
        """1 where it ended with an answer, 0 elsewhere."""
        return float(self.reason == "answer")


def read_results(cell: Cell, output: Path, *, f1_tokens: F1Tokens = "words") -> Iterator[Result]:
    """Score the transcripts that a cell has left in its folder."""
    for transcript in read_transcripts(cell.folder(output) / TRANSCRIPTS_FILE):
        yield Result.of(cell, transcript, f1_tokens=f1_tokens)


def _scores(transcript: Transcript, f1_tokens: F1Tokens) -> dict[str, float]:
    said, answers = transcript.prediction, transcript.question.answers
    # A page of an episode without an answer is nothing it said.
    if said is None:
        return dict.fromkeys(("exact_match", "cover_match", "substring_match", "f1"), 0.0)
    return {
        "exact_match": float(exact_match(said, answers)),
        "cover_match": float(contains_answer(said, answers)),
        "substring_match": float(substring_match(said, answers)),
        "f1": f1_score(said, answers, tokens=f1_tokens),
    }
