"""The record of an episode, elsewhere called trajectory or rollout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from zs_env.actions import DEFAULT_TOOLS, Action, Answer, Malformed, Tool
from zs_env.metrics import contains_answer, exact_match, f1_score
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchRequest
from zs_env.text.numbers import as_probability

EndReason = Literal["answer", "turn_limit", "failure"]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an episode: an answer terminates, a turn limit or a failure truncates it."""

    reason: EndReason

    @property
    def terminated(self) -> bool:
        """Whether the episode ended with an answer."""
        return self.reason == "answer"


FINISHED: Mapping[EndReason, Finished] = {
    reason: Finished(reason) for reason in get_args(EndReason)
}
# The scores of an episode without an answer.
NO_SCORES: Mapping[str, float] = {"f1": 0.0, "exact_match": 0.0, "cover_match": 0.0}


@dataclass(frozen=True, slots=True)
class Turn:
    """One action and the environment's response.

    Attributes:
        text: the agent's text, cut to `Limits.max_action_chars`.
        action: the parsed action.
        request: the request to the engine; None if no search and no open was sent.
        documents: the returned documents, with provenance.
        message: the environment's message after the action; "" if the episode ended.
    """

    text: str
    action: Action
    request: SearchRequest | None = None
    documents: tuple[Document, ...] = ()
    message: str = ""

    @property
    def is_search(self) -> bool:
        """Whether a search was sent to the engine."""
        return self.request is not None and self.request.document is None

    @property
    def is_open(self) -> bool:
        """Whether a document was opened by the engine."""
        return self.request is not None and self.request.document is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a judge on an answer.

    Attributes:
        value: the score of the answer, in [0, 1].
        text: the judge's reply.
        judge: fingerprint of the judge; None if it has none.

    Raises:
        ValueError: if `value` is not a number in [0, 1].
    """

    value: float
    text: str = ""
    judge: str | None = None

    def __post_init__(self) -> None:
        as_probability("the value of a verdict", self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A finished or unfinished episode as plain data.

    Attributes:
        question: the question, with its gold answers.
        prompt: the environment's first message.
        turns: the turns in order.
        reason: why the episode ended; None if it is unfinished.
        failure: the error of the engine, the agent or the judge if `reason` is "failure", otherwise
            None.
        noise_probability: noise probability of the episode.
        seed: seed of the episode or its group, which determines every draw.
        max_turns: maximum number of actions.
        num_documents: number of documents requested per search.
        reward_terms: (name, value) pairs; empty for an unfinished or failed episode.
        verdict: the verdict of the reward's judge; None if there is no judge, or it was not called.
        tools: the tools of the agent.
        max_queries: most queries of a search.
    """

    question: Question
    prompt: str
    turns: tuple[Turn, ...] = ()
    reason: EndReason | None = None
    failure: str | None = None
    noise_probability: float = 0.0
    seed: int = 0
    max_turns: int = 6
    num_documents: int = 5
    reward_terms: tuple[tuple[str, float], ...] = ()
    verdict: Verdict | None = None
    tools: tuple[Tool, ...] = DEFAULT_TOOLS
    max_queries: int = 1

    @property
    def text(self) -> str:
        """The whole episode as one text."""
        return self.prompt + "".join(turn.text + turn.message for turn in self.turns)

    @property
    def reward(self) -> float:
        """Sum of the reward terms."""
        return sum(value for _, value in self.reward_terms)

    @property
    def prediction(self) -> str | None:
        """The answer; None if the agent did not answer."""
        action = self.turns[-1].action if self.turns else None
        return action.text if isinstance(action, Answer) else None

    @property
    def num_searches(self) -> int:
        """Number of searches that were sent to the engine."""
        return sum(turn.is_search for turn in self.turns)

    @property
    def num_opens(self) -> int:
        """Number of documents that were opened by the engine."""
        return sum(turn.is_open for turn in self.turns)

    @property
    def malformed(self) -> Counter[str]:
        """Number of malformed actions by kind."""
        return Counter(
            turn.action.kind for turn in self.turns if isinstance(turn.action, Malformed)
        )

    def failed(self, failure: str) -> Transcript:
        """Return the transcript as one of an episode that this error ended."""
        return replace(self, reason="failure", failure=failure)

    def scores(self) -> dict[str, float]:
        """F1, exact match and cover match of the answer; 0 without an answer."""
        prediction, answers = self.prediction, self.question.answers
        if prediction is None:
            return dict(NO_SCORES)
        return {
            "f1": f1_score(prediction, answers),
            "exact_match": float(exact_match(prediction, answers)),
            "cover_match": float(contains_answer(prediction, answers)),
        }
