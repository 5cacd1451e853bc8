"""The ids that Gymnasium knows us by, and what each stands for.

A preset holds JSON values only, so that an environment's spec can be written down and made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from zs_env.config.names import unknown_name


@dataclass(frozen=True, slots=True)
class Preset:
    """What an id stands for.

    Attributes:
        about: one line for people.
        kwargs: arguments of `zs_env.config.builder.make_env`, as JSON values.
        downloads: whether it fetches its questions from the Hugging Face hub.
        needs: arguments that only the user can give, such as "engine".
    """

    about: str
    kwargs: Mapping[str, Any]
    downloads: bool = False
    needs: tuple[str, ...] = ()


def _hub(name: str, about: str, *, has_paragraphs: bool = False) -> Preset:
    """Return the preset of a hub set; one without paragraphs needs an engine from the user."""
    return Preset(
        about,
        {
            "questions": {"kind": "hub", "name": name},
            "engine": {"kind": "paragraphs"} if has_paragraphs else None,
        },
        downloads=True,
        needs=() if has_paragraphs else ("engine",),
    )


PRESETS: dict[str, Preset] = {
    "ZeroSearch-v0": Preset(
        "questions about a fictional world, with its own engine; nothing to download",
        {"questions": {"kind": "world", "seed": 0, "split": "train"}, "engine": {"kind": "world"}},
    ),
    "ZeroSearch/NoSearch-v0": Preset(
        "the same questions without an engine: what a model knows or guesses",
        {
            "questions": {"kind": "world", "seed": 0, "split": "train"},
            "engine": {"kind": "none"},
            "prompt": "no_search",
        },
    ),
    "ZeroSearch/File-v0": Preset(
        "questions of a JSONL or Parquet file, with an engine of your choice",
        {"questions": {"kind": "file", "path": None}, "engine": None},
        needs=("questions", "engine"),
    ),
    "ZeroSearch/Paragraphs-v0": Preset(
        "questions of a file that brings paragraphs; these are the engine",
        {"questions": {"kind": "file", "path": None}, "engine": {"kind": "paragraphs"}},
        needs=("questions",),
    ),
    "ZeroSearch/NQ-v0": _hub("nq", "Natural Questions"),
    "ZeroSearch/TriviaQA-v0": _hub("triviaqa", "TriviaQA"),
    "ZeroSearch/PopQA-v0": _hub("popqa", "PopQA"),
    "ZeroSearch/HotpotQA-v0": _hub("hotpotqa", "HotpotQA", has_paragraphs=True),
    "ZeroSearch/2WikiMultihopQA-v0": _hub(
        "2wikimultihopqa", "2WikiMultihopQA", has_paragraphs=True
    ),
    "ZeroSearch/MuSiQue-v0": _hub("musique", "MuSiQue"),
    "ZeroSearch/Bamboogle-v0": _hub("bamboogle", "Bamboogle"),
}


def find_preset(env_id: str) -> Preset:
    """Return the preset of an id.

    Raises:
        ValueError: if there is none of this name; the message names the nearest ones.
    """
    if env_id not in PRESETS:
        raise unknown_name("environment id", env_id, PRESETS)
    return PRESETS[env_id]


def register_presets() -> None:
    """Register every preset that Gymnasium does not know yet."""
    for env_id, preset in PRESETS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                id=env_id,
                entry_point="zs_env.config.builder:make_env",
                vector_entry_point="zs_env.config.builder:make_vector_env",
                kwargs=dict(preset.kwargs),
            )
