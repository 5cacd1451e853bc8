"""What happened in an episode, turn by turn; others say trajectory or rollout.

A transcript is plain data: it can be saved, scored again under another reward, shown, and forked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zs_env.actions import Answer, Malformed, Search
from zs_env.metrics import contains_answer, exact_match, f1_score
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchRequest

EndReason = Literal["answer", "turn_limit", "failure"]
# What an episode without an answer scores.
NO_SCORES: Mapping[str, float] = {"f1": 0.0, "exact_match": 0.0, "cover_match": 0.0}


@dataclass(frozen=True, slots=True)
class Turn:
    """One action and what the environment said to it.

    Attributes:
        text: what the agent wrote, cut to the configured length.
        action: what it was read as.
        request: what went to the engine; None where nothing did.
        documents: the page as shown, with provenance.
        message: the environment's words after the action; "" where the episode ended.
    """

    text: str
    action: Search | Answer | Malformed
    request: SearchRequest | None = None
    documents: tuple[Document, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """An episode as far as it went.

    Attributes:
        question: the question, with its gold answers.
        prompt: the environment's first message.
        turns: in order.
        reason: why it ended; None while it goes on.
        failure: what went wrong with the engine, where `reason` is "failure": the episode is void.
        noise_probability: chance of noise that its draws were made with.
        seed: the episode's (or its group's) seed, from which every draw follows.
        max_turns: actions allowed.
        num_documents: documents asked for per page.
        reward_terms: the reward by named term; empty while it goes on.
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

    @property
    def text(self) -> str:
        """Everything so far, as a model reads it."""
        return self.prompt + "".join(turn.text + turn.message for turn in self.turns)

    @property
    def reward(self) -> float:
        """Sum of the reward's terms."""
        return sum(value for _, value in self.reward_terms)

    @property
    def prediction(self) -> str | None:
        """The parsed answer; None where none was given."""
        action = self.turns[-1].action if self.turns else None
        return action.text if isinstance(action, Answer) else None

    @property
    def num_searches(self) -> int:
        """Searches that were sent to the engine."""
        return sum(turn.request is not None for turn in self.turns)

    @property
    def malformed(self) -> Counter[str]:
        """Malformed actions by kind."""
        return Counter(
            turn.action.kind for turn in self.turns if isinstance(turn.action, Malformed)
        )

    def scores(self) -> dict[str, float]:
        """F1, exact match and cover match of the prediction; all 0 without one."""
        prediction, answers = self.prediction, self.question.answers
        if prediction is None:
            return dict(NO_SCORES)
        return {
            "f1": f1_score(prediction, answers),
            "exact_match": float(exact_match(prediction, answers)),
            "cover_match": float(contains_answer(prediction, answers)),
        }
