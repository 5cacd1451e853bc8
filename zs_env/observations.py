"""Observations and infos of an episode, their spaces and their batches.

Gold answers are in the info of a finished episode only. Neither contains a time, so that equal
episodes give equal values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from zs_env.actions import MALFORMED_KINDS, OPEN_ERRORS
from zs_env.episode import Episode, EpisodeConfig
from zs_env.prompts import render_document, render_opened, render_page, render_sections
from zs_env.search.types import Document
from zs_env.spaces import UnicodeText

_MAX_PARTS = 10**9  # of an opened document


def observation_space(config: EpisodeConfig) -> spaces.Dict:
    """Return the observation space, whose text lengths follow from the configured limits."""
    limits, count = config.limits, config.num_documents * config.max_queries
    # A page with titles of one character measures the text around the documents.
    frame = len(render_page((Document(text="", title="t"),) * count)) - count
    longest = limits.max_document_chars + len(render_document(Document(text="", title="t"))) - 1
    page = max(frame + count * limits.max_document_chars, len(render_page(())))
    kinds = set(MALFORMED_KINDS)
    if config.max_queries > 1:
        headings = [("", ())] * config.max_queries
        page += len(render_sections(headings)) + limits.max_action_chars
    else:
        kinds -= {"too_many_queries"}
    if "open" in config.tools:
        page = max(page, len(render_opened(count, "", _MAX_PARTS, _MAX_PARTS)) + longest)
    else:
        kinds -= {*OPEN_ERRORS}
    notice = max(len(config.prompt.render_notice(kind, config.tools)) for kind in kinds)
    reply = max(page, notice)
    transcript = limits.max_prompt_chars + config.max_turns * (limits.max_action_chars + reply)
    return spaces.Dict(
        {
            "question": UnicodeText(limits.max_prompt_chars),
            "message": UnicodeText(max(limits.max_prompt_chars, reply)),
            "transcript": UnicodeText(transcript),
            "documents": spaces.Tuple([UnicodeText(longest) for _ in range(count)]),
        }
    )


def action_space(config: EpisodeConfig) -> UnicodeText:
    """Return the action space; `step` reads a longer text as Malformed("too_long")."""
    return UnicodeText(config.limits.max_action_chars)


def get_obs(episode: Episode) -> dict[str, Any]:
    """Return the current observation of an episode; `ZeroSearchEnv` documents the keys."""
    texts = episode.document_texts
    missing = episode.config.num_documents * episode.config.max_queries - len(texts)
    return {
        "question": episode.question_text,
        "message": episode.message,
        "transcript": episode.text,
        "documents": texts + ("",) * missing if missing else texts,
    }


def get_info(episode: Episode) -> dict[str, Any]:
    """Return the current info of an episode; `ZeroSearchEnv` documents the keys."""
    info: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "question_id": episode.question.id,
        "noise_probability": episode.noise_probability,
        "num_searches": episode.num_searches,
        "action": episode.turns[-1].action.kind if episode.turns else None,
        "documents": episode.documents,
    }
    if "open" in episode.config.tools:
        info["num_opens"] = episode.num_opens
    if episode.finished is not None:
        info["reason"] = episode.finished.reason
        info["scores"] = dict(episode.scores)
        info["answers"] = episode.question.answers
        info["failure"] = episode.failure
        info["reward_terms"] = dict(episode.reward_terms)
    return info


def batch_infos(infos: Mapping[int, Mapping[str, Any]], num_envs: int) -> dict[str, Any]:
    """Batch infos as Gymnasium's vector environments do.

    Each key gets an array of `num_envs` values and a mask `_key` of the sub-environments that have
    it. Numbers and booleans give arrays of their type, mappings are batched key by key, and other
    values, `final_obs` included, give arrays of objects.

    Args:
        infos: infos by sub-environment index.
        num_envs: number of sub-environments.
    """
    # Gymnasium's own function adds one environment at a time, which is several times slower.
    columns: dict[str, dict[int, Any]] = {}
    for index, info in infos.items():
        for key, value in info.items():
            columns.setdefault(key, {})[index] = value
    batch: dict[str, Any] = {}
    for key, column in columns.items():
        first = next(iter(column.values()))
        if isinstance(first, Mapping) and key != "final_obs":
            batch[key] = batch_infos(column, num_envs)
        else:
            batch[key] = _column_array(column, num_envs)
        mask = np.zeros(num_envs, dtype=np.bool_)
        mask[list(column)] = True
        batch[f"_{key}"] = mask
    return batch


def _column_array(column: Mapping[int, Any], num_envs: int) -> NDArray[Any]:
    if all(type(value) in (bool, int, float) for value in column.values()):
        values = np.asarray(list(column.values()))
        array = np.zeros(num_envs, dtype=values.dtype)
        array[list(column)] = values
        return array
    array = np.full(num_envs, None, dtype=object)
    for index, value in column.items():
        array[index] = value
    return array
