"""One search, one answer: what a single page is worth to a reader who does not think."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_SPAN = re.compile(r"\b[A-Z]\w*(?:[ '-]+[A-Z]\w*)*|\b\d{3,4}\b")


class SearchOnce:
    """Searches the question as it stands, then answers with the name or year it read most often.

    What the question names is no answer; of equally frequent ones the first on the page counts.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search at the start and an answer from then on."""
        question = observation["question"]
        if observation["message"] == observation["transcript"]:  # nobody has acted yet
            return f"<search>{question}</search>"
        asked = question.lower()
        counts = Counter(
            span
            for document in observation["documents"]
            for span in _SPAN.findall(document)
            if span.lower() not in asked and span.lower() not in ("the", "a", "an")
        )
        best = counts.most_common(1)
        return f"<answer>{best[0][0] if best else 'unknown'}</answer>"
