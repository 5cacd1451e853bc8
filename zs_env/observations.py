"""What the agent sees of an episode, and what its researcher is told beside it.

`observe` is for agents; `describe` fills `info`, where gold answers appear once the episode is over
and never before. Neither holds a clock, so equal episodes look equal.
"""

from __future__ import annotations

from typing import Any, TypedDict

from gymnasium import spaces

from zs_env.actions import MALFORMED_KINDS, Answer, Malformed, Search
from zs_env.episode import Episode, EpisodeConfig
from zs_env.prompts import render_document, render_page
from zs_env.search.types import Document
from zs_env.spaces import UnicodeText


class Observation(TypedDict):
    """What an agent sees.

    Attributes:
        question: the question.
        message: what the environment says now: the prompt, then documents or a notice; "" at the
            end.
        transcript: everything so far, the agent's own words included.
        documents: the last page, `num_documents` texts, "" where there is none.
    """

    question: str
    message: str
    transcript: str
    documents: tuple[str, ...]


def observation_space(config: EpisodeConfig) -> spaces.Dict:
    """Return the space of all observations; its lengths follow from the configured limits."""
    limits, count = config.limits, config.num_documents
    # Rendering a page with titles of one character shows what stands around the documents.
    frame = len(render_page((Document(text="", title="t"),) * count)) - count
    page = max(frame + count * limits.max_document_chars, len(render_page(())))
    notice = max(len(config.prompt.render_notice(kind)) for kind in MALFORMED_KINDS)
    reply = max(page, notice)
    document = limits.max_document_chars + len(render_document(Document(text="", title="t"))) - 1
    transcript = limits.max_prompt_chars + config.max_turns * (limits.max_action_chars + reply)
    return spaces.Dict(
        {
            "question": UnicodeText(limits.max_prompt_chars),
            "message": UnicodeText(max(limits.max_prompt_chars, reply)),
            "transcript": UnicodeText(transcript),
            "documents": spaces.Tuple([UnicodeText(document) for _ in range(count)]),
        }
    )


def action_space(config: EpisodeConfig) -> UnicodeText:
    """Return the space of actions; a longer text is taken too, as Malformed("too_long")."""
    return UnicodeText(config.limits.max_action_chars)


def checked_action(action: object) -> str:
    """Return the action, which must be a string.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(action, str):
        raise TypeError(f"an action is a string, got {type(action).__name__}; pass the text itself")
    return action


def get_obs(episode: Episode) -> dict[str, Any]:
    """Return the observation of an episode as it stands."""
    texts = episode.document_texts
    missing = episode.config.num_documents - len(texts)
    return {
        "question": episode.question_text,
        "message": episode.message,
        "transcript": episode.text,
        "documents": texts + ("",) * missing if missing else texts,
    }


def get_info(episode: Episode) -> dict[str, Any]:
    """Return the info of an episode as it stands.

    `ZeroSearchEnv` documents the keys.
    """
    info: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "question_id": episode.question.id,
        "noise_probability": episode.noise_probability,
        "num_searches": episode.num_searches,
        "action": _action_name(episode),
        "documents": episode.documents,
    }
    if episode.finished is not None:
        info["reason"] = episode.finished.reason
        info["scores"] = dict(episode.scores)
        info["answers"] = episode.question.answers
        info["failure"] = episode.failure
        info["reward_terms"] = dict(episode.reward_terms)
    return info


def _action_name(episode: Episode) -> str | None:
    if not episode.turns:
        return None
    action = episode.turns[-1].action
    if isinstance(action, Malformed):
        return action.kind
    return _ACTION_NAMES[type(action)]


_ACTION_NAMES: dict[type, str] = {Search: "search", Answer: "answer"}
