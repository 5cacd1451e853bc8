"""What an evaluation keeps of one episode: a few numbers, beside the transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zs_env.transcripts.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One episode, scored.

    Attributes:
        index: number of its question in the environment's set, from 0.
        question_id: the question's own name; "" where the environment tells none.
        structure: the question's `structure` where its set names one; "" elsewhere.
        reward: sum over the episode.
        f1: of the answer, in [0, 1]; 0 without one. So are the next two.
        exact_match: 0 or 1.
        cover_match: 0 or 1.
        searches: sent to the engine.
        turns: actions taken.
        malformed: actions that were neither search nor answer.
        reason: "answer", "turn_limit", "failure"; "terminated" or "truncated" in an environment
            that is not ours.
        failure: what went wrong with the engine; the episode counts for nothing then.
        documents: that were shown.
        noisy_documents: of them, those that were asked to be noise.
        failed_checks: documents by what was asked for and the check that they fail, such as
            "noisy/leak".
    """

    index: int
    question_id: str = ""
    structure: str = ""
    reward: float
    f1: float
    exact_match: float
    cover_match: float
    searches: int
    turns: int
    malformed: int
    reason: str
    failure: str | None = None
    documents: int = 0
    noisy_documents: int = 0
    failed_checks: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_transcript(cls, index: int, transcript: Transcript) -> EpisodeResult:
        """Score a finished transcript."""
        documents = [document for turn in transcript.turns for document in turn.documents]
        failed = Counter(
            f"{'noisy' if document.useful is False else 'useful'}/{check}"
            for document in documents
            for check in document.checks
        )
        return cls(
            index=index,
            question_id=transcript.question.id,
            structure=str(transcript.question.metadata.get("structure", "")),
            reward=float(transcript.reward),
            searches=transcript.num_searches,
            turns=len(transcript.turns),
            malformed=transcript.malformed.total(),
            reason=transcript.reason or "unfinished",
            failure=transcript.failure,
            documents=len(documents),
            noisy_documents=sum(document.useful is False for document in documents),
            failed_checks=dict(sorted(failed.items())),
            **transcript.scores(),
        )

    @classmethod
    def from_info(cls, index: int, info: Mapping[str, Any]) -> EpisodeResult:
        """Read the last info of an environment that keeps no transcript.

        Args:
            index: see the attribute.
            info: with Gymnasium's `episode` statistics and a `reason`.
        """
        scores = info.get("scores", {})
        return cls(
            index=index,
            question_id=str(info.get("question_id", "")),
            reward=float(info["episode"]["r"]),
            f1=float(scores.get("f1", 0.0)),
            exact_match=float(scores.get("exact_match", 0.0)),
            cover_match=float(scores.get("cover_match", 0.0)),
            searches=int(info.get("num_searches", 0)),
            turns=int(info["episode"]["l"]),
            malformed=0,
            reason=str(info["reason"]),
            failure=info.get("failure"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)
