"""The flags for long prompts, shared by all commands that read questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zs_env.episode import Limits, OverlongPrompts


@dataclass(frozen=True, kw_only=True)
class PromptLimits:
    """What happens to questions with a long prompt, before the first episode.

    Attributes:
        max_prompt_chars: maximum length of a prompt, in characters; 16,384 by default.
        overlong_prompts: "error" refuses questions with a longer prompt, "skip" skips and counts
            them; "error" by default.
    """

    max_prompt_chars: int | None = None
    overlong_prompts: OverlongPrompts | None = None

    def __post_init__(self) -> None:
        Limits(**self.prompt_limits())

    def prompt_limits(self) -> dict[str, Any]:
        """Return the fields of `zs_env.episode.Limits` that are given."""
        names = ("max_prompt_chars", "overlong_prompts")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
