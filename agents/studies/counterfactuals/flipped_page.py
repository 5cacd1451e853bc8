"""What flipping one page did to the reward of its episode."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from zs_env.search.types import SearchRequest
from zs_env.transcripts.transcript import Transcript

PageKind = Literal["useful", "noisy", "mixed"]
_OPPOSITE: dict[PageKind, PageKind] = {"useful": "noisy", "noisy": "useful", "mixed": "mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedPage:
    """One page of a recorded episode, flipped.

    Attributes:
        index: number of the question in its set, from 0.
        question_id: the question's own name.
        turn: number of the search, from 0 over all turns.
        kind: what the page was asked to be; "mixed" where its documents were drawn one by one.
        reward: of the episode as it was.
        reward_flipped: of the episode with the page flipped; None where a failure ended it.
        same_page: whether the flipped page shows the same documents: an engine that does not look
            at what is asked of it, or has nothing else to show.
        failure: what went wrong with the engine, in the flipped episode.
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
        """Compare an episode with itself; the turn is a search that was sent in both."""
        was, is_now = recorded.turns[turn], flipped.turns[turn]
        assert was.request is not None
        return cls(
            index=index,
            question_id=recorded.question.id,
            turn=turn,
            kind=_kind(was.request),
            reward=recorded.reward,
            reward_flipped=None if flipped.failure else flipped.reward,
            same_page=was.message == is_now.message,
            failure=flipped.failure,
        )

    @property
    def difference(self) -> float | None:
        """What the flip added to the reward; None where a failure ended the episode."""
        return None if self.reward_flipped is None else self.reward_flipped - self.reward

    @property
    def direction(self) -> str:
        """What became of what, such as "useful to noisy"."""
        return f"{self.kind} to {_OPPOSITE[self.kind]}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `FlippedPage(**...)` is the way back."""
        return asdict(self)


def _kind(request: SearchRequest) -> PageKind:
    if len(set(request.useful)) > 1:
        return "mixed"
    return "useful" if request.useful[0] else "noisy"
