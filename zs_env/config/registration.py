"""The environment ids and the arguments that each stands for.

The arguments are JSON values, so that an `EnvSpec` can be written to JSON and read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from zs_env.text.suggestions import unknown_name


@dataclass(frozen=True, slots=True)
class Preset:
    """An environment id's arguments.

    Attributes:
        about: description in one line.
        kwargs: arguments of `zs_env.config.make_env`, as JSON values.
        downloads: whether the questions are downloaded from the Hugging Face hub.
        needs: arguments without a default, which the user has to pass, such as "engine".
    """

    about: str
    kwargs: Mapping[str, Any]
    downloads: bool = False
    needs: tuple[str, ...] = ()


def _hub(name: str, about: str, *, has_paragraphs: bool = False) -> Preset:
    """Return the preset of a hub data set; without paragraphs the user has to pass an engine."""
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
        "questions about a fictional world, with its own engine; no download",
        {"questions": {"kind": "world", "seed": 0, "split": "train"}, "engine": {"kind": "world"}},
    ),
    "ZeroSearch/NoSearch-v0": Preset(
        "the same questions without a search engine",
        {
            "questions": {"kind": "world", "seed": 0, "split": "train"},
            "engine": {"kind": "none"},
            "prompt": "no_search",
        },
    ),
    "ZeroSearch/File-v0": Preset(
        "questions of a JSONL or Parquet file, with an engine that you pass",
        {"questions": {"kind": "file", "path": None}, "engine": None},
        needs=("questions", "engine"),
    ),
    "ZeroSearch/Paragraphs-v0": Preset(
        "questions of a file with paragraphs, which are the documents of the engine",
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
    """Return the preset of an id; ValueError with the nearest ids if it is unknown."""
    if env_id not in PRESETS:
        raise unknown_name("environment id", env_id, PRESETS)
    return PRESETS[env_id]


def register_presets() -> None:
    """Register every id that Gymnasium does not know yet."""
    for env_id, preset in PRESETS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                id=env_id,
                entry_point="zs_env.config:make_env",
                vector_entry_point="zs_env.config:make_vector_env",
                kwargs=dict(preset.kwargs),
            )
