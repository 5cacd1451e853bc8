"""Loads the data sets that the authors of ZeroSearch released for tuning simulators.

A row has a prompt and a page in one of these formats: `instruction`, `input` and `output`; `prompt`
with `completion`, `response` or `output`; or messages under `messages` or `conversations`. Query,
question, answer and kind are parsed from the prompt, whose wording (arXiv:2505.04588, table 2) is
the same in every row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agents.simulator_tuning.pairs import Pair
from zs_env.questions.hub import load_dataset
from zs_env.questions.rows import RowLocation, read_rows
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.text.paths import expand_home, local_path
from zs_env.text.suggestions import check_names

RELEASED: dict[str, str] = {
    "google": "Alibaba-NLP/SimulationTuning_google_dataset",
    "wiki": "Alibaba-NLP/SimulationTuning_wiki_dataset",
    "first": "Alibaba-NLP/SimulationTuning_dataset",
}
_QUERY = re.compile(r"^Query:\s*(?P<query>.*?)\s*$", re.MULTILINE)
_QUESTION = re.compile(
    r'answer the question:\s*"?(?P<question>.*?)"?,?\s+whose answer is\s+(?P<answer>.*?)\.?\s*$',
    re.MULTILINE | re.IGNORECASE,
)
_KIND = re.compile(r"(?P<kind>useful|noisy)\s+output\s*:\s*\Z", re.IGNORECASE)


def load_released(name: str, *, location: str | Path | None = None) -> list[Pair]:
    """Load a released data set.

    Args:
        name: key of `RELEASED`, such as "google".
        location: a local copy, used instead of the hub: a JSON, JSONL or Parquet file.

    Raises:
        ValueError: if the name is unknown, or a row is invalid; the message names row and field.
        ImportError: if `datasets` is missing.
        ConnectionError: if the data set cannot be downloaded.
    """
    check_names("released data set", [name], RELEASED)
    source, pairs = RELEASED[name], []
    for number, (row_location, row) in enumerate(_rows(source, location)):
        prompt, completion = _prompt_and_page(row_location, row)
        query, question, kind = (form.search(prompt) for form in (_QUERY, _QUESTION, _KIND))
        if query is None or kind is None:
            expected = 'a line "Query: …" and the end "Useful Output:" or "Noisy Output:"'
            raise row_location.error("prompt", prompt, expected)
        pair = Pair(
            prompt=prompt,
            completion=join_documents(split_documents(completion)),
            kind=kind["kind"].lower(),
            query=query["query"],
            question=question["question"] if question else query["query"],
            answers=(question["answer"],) if question else (),
            question_id=f"{source}/{number}",
            source=source,
        )
        pairs.append(pair)
    return pairs


def _rows(
    repository: str, location: str | Path | None
) -> Iterable[tuple[RowLocation, dict[str, Any]]]:
    if location is None:
        rows = load_dataset(repository, split="train")
    elif local_path(location).suffix == ".json":
        rows = load_dataset("json", split="train", data_files=expand_home(location))
    else:
        return read_rows(location)
    origin = str(location or repository)
    return ((RowLocation(origin, number, "row"), dict(row)) for number, row in enumerate(rows))


def _prompt_and_page(location: RowLocation, row: Mapping[str, Any]) -> tuple[str, str]:
    if messages := row.get("messages") or row.get("conversations"):
        by_role = {
            one.get("role") or one.get("from"): one.get("content") or one.get("value")
            for one in messages
        }
        prompt = by_role.get("user") or by_role.get("human")
        page = by_role.get("assistant") or by_role.get("gpt")
    else:
        parts = [row.get("instruction") or row.get("prompt"), row.get("input")]
        prompt = "\n".join(part for part in parts if isinstance(part, str) and part) or None
        page = row.get("output") or row.get("completion") or row.get("response") or None
    for name, text in (("prompt", prompt), ("output", page)):
        if not isinstance(text, str):
            expected = "text under instruction and output, prompt and completion, or messages"
            raise location.error(name, text, f"{expected}; the row has {sorted(row)}")
    return str(prompt), str(page)
