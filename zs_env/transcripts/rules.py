"""The rules of an episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zs_env.actions import DEFAULT_TOOLS, Tool, build_tools
from zs_env.noise import KindWeights, NoiseDraw, build_noise_kinds
from zs_env.prompts import PROMPTS, PromptTemplate
from zs_env.questions.question import Question
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.text.numbers import as_int
from zs_env.text.sanitize import clean_text

OverlongPrompts = Literal["error", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Maximum lengths of texts, in characters; they bound the observation space.

    Attributes:
        max_action_chars: a longer action is Malformed("too_long"); the transcript holds its start.
        max_document_chars: a longer document is cut and marked as `truncated`.
        max_prompt_chars: maximum length of a prompt.
        overlong_prompts: what an environment does with questions whose prompt is longer: "error"
            raises ValueError when the environment is made, "skip" removes and counts them.
    """

    max_action_chars: int = 8192
    max_document_chars: int = 2048
    max_prompt_chars: int = 16384
    overlong_prompts: OverlongPrompts = "error"

    def __post_init__(self) -> None:
        if self.overlong_prompts not in get_args(OverlongPrompts):
            raise ValueError(
                f"got overlong_prompts={self.overlong_prompts!r}, expected one of "
                f"{get_args(OverlongPrompts)}"
            )
        for name in ("max_action_chars", "max_document_chars", "max_prompt_chars"):
            object.__setattr__(self, name, as_int(name, getattr(self, name), low=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """The rules of an episode.

    Attributes:
        max_turns: number of actions; a search or an open in the last turn is not sent.
        num_documents: number of documents requested per search.
        noise_draw: what is drawn as useful or noisy: "search" each page (as in the paper),
            "document" each document, "group" each turn, for all episodes with the same seed.
        noise_kinds: kinds of noise and their weights; also what else `build_noise_kinds` takes.
            One kind is drawn for each search, or with "group" for each turn.
        prompt: prompt and notices.
        reward: reward function of a finished transcript; see `zs_env.rewards`.
        limits: maximum lengths of texts.
        tools: "search", and "open" if the agent may read documents of the last page in full.
        max_queries: most queries of a search, one a line; noise is drawn for each.
    """

    max_turns: int = 6
    num_documents: int = 5
    noise_draw: NoiseDraw = "search"
    noise_kinds: KindWeights = (("irrelevant", 1.0),)
    prompt: PromptTemplate = PROMPTS["instruct"]
    reward: RewardFunction = answer_f1
    limits: Limits = Limits()
    tools: tuple[Tool, ...] = DEFAULT_TOOLS
    max_queries: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", build_tools(self.tools))
        for name in ("max_turns", "num_documents", "max_queries"):
            object.__setattr__(self, name, as_int(name, getattr(self, name), low=1))
        if self.noise_draw not in ("search", "document", "group"):
            raise ValueError(
                f"got noise_draw={self.noise_draw!r}, expected 'search', 'document' or 'group'"
            )
        object.__setattr__(self, "noise_kinds", build_noise_kinds(self.noise_kinds))

    def prompt_of(self, question: Question) -> str:
        """Return the prompt of a question."""
        return clean_text(
            self.prompt.render_prompt(
                question,
                max_turns=self.max_turns,
                num_documents=self.num_documents,
                tools=self.tools,
                max_queries=self.max_queries,
            )
        )
