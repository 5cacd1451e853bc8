"""Question data sets of the Hugging Face hub by short name.

These are the seven benchmarks of the paper, from a collection with one schema (FlashRAG), and the
training set of ZeroSearch. HotpotQA and 2WikiMultihopQA include paragraphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zs_env.questions.files import questions_from_rows
from zs_env.questions.question import Question
from zs_env.questions.rows import RowLocation
from zs_env.text.paths import expand_home
from zs_env.text.suggestions import unknown_name

FLASHRAG = "RUC-NLPIR/FlashRAG_datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSet:
    """Location and columns of a data set.

    Attributes:
        repository: data set repository on the hub.
        config: name of the configuration (subset); None for the default one.
        split: default split.
        splits: all splits.
        fields: column name by field name.
    """

    repository: str
    config: str | None
    split: str
    splits: tuple[str, ...]
    fields: Mapping[str, str] = field(
        default_factory=lambda: {"id": "id", "question": "question", "answers": "golden_answers"}
    )


HUB_SETS: dict[str, HubSet] = {
    name: HubSet(repository=FLASHRAG, config=name, split=splits[-1], splits=splits)
    for name, splits in {
        "nq": ("train", "dev", "test"),
        "triviaqa": ("train", "dev", "test"),
        "popqa": ("test",),
        "hotpotqa": ("train", "dev"),
        "2wikimultihopqa": ("train", "dev"),
        "musique": ("train", "dev"),
        "bamboogle": ("test",),
    }.items()
} | {
    "zerosearch": HubSet(
        repository="Alibaba-NLP/ZeroSearch_dataset",
        config=None,
        split="train",
        splits=("train", "test"),
        # The ids of the merged data sets are not unique, so ids are row numbers.
        fields={
            "question": "question",
            "answers": "golden_answers",
            "prompt": "prompt",
            "source": "data_source",
        },
    )
}


def load_hub_questions(
    name: str,
    *,
    split: str | None = None,
    location: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> list[Question]:
    """Load a data set of `HUB_SETS`.

    Args:
        name: short name, such as "nq".
        split: a split, or a part of one in the syntax of `datasets` ("test[:500]"); None for the
            default split.
        location: path of a local copy of the repository, for machines without network access.
        cache_dir: cache folder of `datasets`; None for its default.

    Raises:
        ValueError: if the name or split is unknown, or a row is malformed.
        ImportError: if `datasets` is not installed.
        ConnectionError: if the data set cannot be loaded.
    """
    if name not in HUB_SETS:
        raise unknown_name("hub set", name, HUB_SETS)
    hub_set = HUB_SETS[name]
    split = split or hub_set.split
    if split.split("[")[0] not in hub_set.splits:
        raise ValueError(f"hub set {name!r} has the splits {hub_set.splits}, got {split!r}")
    rows = load_dataset(
        hub_set.repository if location is None else expand_home(location),
        hub_set.config,
        split=split,
        cache_dir=None if cache_dir is None else expand_home(cache_dir),
    )
    return questions_from_rows(_renamed(rows, hub_set, f"{name}/{split}"), source=name)


def load_dataset(path: str, config: str | None = None, *, split: str, **settings: Any) -> Any:
    """Call `datasets.load_dataset`; ConnectionError if it cannot load the data set."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f'loading {path} needs the datasets library: pip install "zerosearch-gym[data]"'
        ) from error
    try:
        return datasets.load_dataset(path, config, split=split, **settings)
    except OSError as error:
        raise ConnectionError(
            f"cannot load {path} (configuration {config}, split {split}): {error}; check the "
            "network, or pass location= a local copy"
        ) from error


def _renamed(
    rows: Any, hub_set: HubSet, origin: str
) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    missing = [column for column in hub_set.fields.values() if column not in rows.column_names]
    if missing:
        raise ValueError(
            f"{origin}: got the columns {rows.column_names}, expected also {missing}; if the "
            "schema has changed, load the data set with load_questions_file"
        )
    taken = set(hub_set.fields.values()) | {"id"}
    for number, row in enumerate(rows):
        rest = {column: value for column, value in row.items() if column not in taken}
        ours = {name: row[column] for name, column in hub_set.fields.items()}
        yield RowLocation(origin, number, "row"), rest | ours
