"""When a turn is over: after the token that completes a closing action tag, or at a stop token.

Tokenizers merge `>` with what follows it, so the tag is looked for in the decoded text; few tokens
can complete one, and only after those is anything decoded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from agents.llm.policy import Policy

StopReason = Literal["tag", "eos", "length", "context"]

CLOSING_TAGS = ("</search>", "</answer>")
_TAG_END = re.compile(r"([A-Za-z/<]*)>")


def may_complete_tag(token_text: str) -> bool:
    """Whether a token with this text can complete a closing action tag."""
    for match in _TAG_END.finditer(token_text):
        piece = match[1]
        for tag in CLOSING_TAGS:
            body = tag[:-1]
            if body.endswith(piece) or piece.endswith(body):
                return True
    return False


class StopRule:
    """Says where a turn of a policy ends.

    Attributes:
        watched: ids after which `reason` must be asked; after all others a turn goes on.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._stop_token_ids = policy.stop_token_ids
        self.watched = policy.stop_token_ids | _tag_token_ids(policy)

    def reason(self, turn_ids: Sequence[int]) -> StopReason | None:
        """Say why a turn ends after its last id; None where it goes on."""
        if turn_ids[-1] in self._stop_token_ids:
            return "eos"
        text = self._policy.decode(turn_ids)
        return "tag" if any(tag in text for tag in CLOSING_TAGS) else None


def _tag_token_ids(policy: Policy) -> frozenset[int]:
    vocabulary = policy.tokenizer.get_vocab()
    candidates = [token_id for token, token_id in vocabulary.items() if ">" in token]
    return frozenset(
        token_id for token_id in candidates if may_complete_tag(policy.decode([token_id]))
    )
