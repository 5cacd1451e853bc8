"""The effect of flipping one page on the reward of its episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zs_env.search.types import SearchRequest
from zs_env.transcripts.transcript import Transcript

PageKind = Literal["useful", "noisy", "mixed"]
_OPPOSITE: dict[PageKind, PageKind] = {"useful": "noisy", "noisy": "useful", "mixed": "mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedPage:
    """One flipped page of a recorded episode.

    Attributes:
        index: number of the question in its set, from 0.
        question_id: id of the question.
        turn: number of the turn with the search, from 0 over all turns.
        kind: requested quality of the page; "mixed" if its documents were drawn one by one.
        reward: of the recorded episode.
        reward_flipped: of the episode with the flipped page; None if a failure ended it.
        same_page: whether the flipped page shows the same documents: the engine ignores the
            requested quality, or has no other documents.
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
        return cls(
            index=index,
            question_id=recorded.question.id,
            turn=turn,
            kind=_kind(before.request),
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


def _kind(request: SearchRequest) -> PageKind:
    if len(set(request.useful)) > 1:
        return "mixed"
    return "useful" if request.useful[0] else "noisy"
