"""The scores and counts of one episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from zs_env.metrics import F1Tokens, exact_match, f1_score, substring_match
from zs_env.text.wrong_answers import mentions_answer
from zs_env.transcripts.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One scored episode.

    Attributes:
        index: number of its question in the environment's set, from 0.
        question_id: id of the question; "" if the environment does not report one.
        structure: the question's `structure` if its set has one; else "".
        prediction: the answer; None if the agent gave none. All scores are 0 then.
        reward: sum over the episode.
        f1: of the prediction, in [0, 1].
        exact_match: 0 or 1, as are the next two.
        cover_match: whether the prediction contains a gold answer as whole words.
        substring_match: what the original reports as EM, see `zs_env.metrics.substring_match`.
        searches: number of searches sent to the engine.
        opens: number of documents that the engine opened.
        turns: number of actions.
        malformed: number of actions that were neither a search nor an answer.
        reason: "answer", "turn_limit" or "failure"; "terminated" or "truncated" in an environment
            of another package.
        failure: the engine's error; None without one. Scores of a failed episode are not used.
        documents: number of documents shown, and of those that noise of the kind "empty" left out.
        noisy_documents: number of noisy documents; those that were left out are noisy.
        unlabelled_documents: number of documents whose quality the engine does not control.
        failed_checks: number of documents by delivered quality and failed check, such as
            "noisy/leak". Documents that the engine `corpus` delivers where a useful page was
            requested and the query finds none are noisy: "noisy/not_retrieved".
        wrong_answer_shown: whether the shown text or title of a document names the wrong
            answer that it suggests (its metadata `wrong_answer`), as those of misleading,
            conflicting and injected documents do unless the text is cut before it.
        misled: whether the prediction is such a wrong answer, after normalization.
    """

    index: int
    question_id: str = ""
    structure: str = ""
    prediction: str | None = None
    reward: float
    f1: float
    exact_match: float
    cover_match: float
    substring_match: float = 0.0
    searches: int
    turns: int
    malformed: int
    reason: str
    failure: str | None = None
    documents: int = 0
    noisy_documents: int = 0
    unlabelled_documents: int = 0
    opens: int = 0
    failed_checks: Mapping[str, int] = field(default_factory=dict)
    wrong_answer_shown: bool = False
    misled: bool = False

    @classmethod
    def from_transcript(
        cls, index: int, transcript: Transcript, *, f1_tokens: F1Tokens = "words", **fields: Any
    ) -> Self:
        """Score a finished transcript; `fields` are further fields of a subclass."""
        documents = [document for turn in transcript.turns for document in turn.documents]
        requests = [turn.request for turn in transcript.turns if turn.request is not None]
        left_out = sum(request.num_left_out for request in requests)
        failed = Counter(
            f"{'noisy' if document.useful is False else 'useful'}/{check}"
            for document in documents
            for check in document.checks
        )
        scores, prediction = transcript.scores(), transcript.prediction
        wrong = [
            str(value)
            for document in documents
            for name, value in document.metadata
            if name == "wrong_answer"
            # The text may have been cut before the wrong answer.
            and mentions_answer(f"{document.title} {document.text}", [str(value)])
        ]
        if prediction is not None:
            answers = transcript.question.answers
            scores["substring_match"] = float(substring_match(prediction, answers))
            if f1_tokens != "words":
                scores["f1"] = f1_score(prediction, answers, tokens=f1_tokens)
        return cls(
            index=index,
            question_id=transcript.question.id,
            structure=str(transcript.question.metadata.get("structure", "")),
            prediction=prediction,
            reward=float(transcript.reward),
            searches=transcript.num_searches,
            opens=transcript.num_opens,
            turns=len(transcript.turns),
            malformed=transcript.malformed.total(),
            reason=transcript.reason or "unfinished",
            failure=transcript.failure,
            documents=len(documents) + left_out,
            noisy_documents=sum(document.useful is False for document in documents) + left_out,
            unlabelled_documents=sum(document.useful is None for document in documents),
            failed_checks=dict(sorted(failed.items())),
            wrong_answer_shown=bool(wrong),
            misled=prediction is not None and exact_match(prediction, wrong),
            **scores,
            **fields,
        )

    @classmethod
    def from_info(cls, index: int, info: Mapping[str, Any]) -> Self:
        """Read the last info of an environment that keeps no transcript.

        It has Gymnasium's `episode` statistics and a `reason`.
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
            opens=int(info.get("num_opens", 0)),
            turns=int(info["episode"]["l"]),
            malformed=0,
            reason=str(info["reason"]),
            failure=info.get("failure"),
        )

    @property
    def labelled_documents(self) -> int:
        """Number of documents that the engine delivered as useful or as noisy."""
        return self.documents - self.unlabelled_documents

    @property
    def malformed_share(self) -> float:
        """Share of the actions that were neither a search nor an answer."""
        return self.malformed / self.turns

    @property
    def answered(self) -> float:
        """1 if the episode ended with an answer, else 0."""
        return float(self.reason == "answer")
