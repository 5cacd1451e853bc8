"""Released data sets in all their formats, from local files."""

import json
from dataclasses import replace

import pytest

from agents.simulator_tuning.pairs import balance, with_prompt
from agents.simulator_tuning.released import RELEASED, load_released
from zs_env.search.types import SearchRequest
from zs_env.simulator.prompts import PROMPT_SETS

PAGE = "Doc 1: One  thing.\nDoc 2: Another.\n"


def prompt(kind, query="first king of Norway"):
    return (
        f"You stand in for a search engine. Write two {kind.lower()} documents.\n"
        'The user is trying to answer the question: "Who was the first king, and where?" whose '
        f"answer is Harald Fairhair.\nQuery: {query}\n{kind} Output:\n"
    )


FORMATS = {
    "alpaca": lambda text: {"instruction": text, "input": "", "output": PAGE},
    "completion": lambda text: {"prompt": text, "completion": PAGE},
    "messages": lambda text: {
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": PAGE}]
    },
    "conversations": lambda text: {
        "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": PAGE}]
    },
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_every_format_gives_the_same_pairs(tmp_path, format, suffix):
    rows = [FORMATS[format](prompt(kind)) for kind in ("Useful", "Noisy")]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".json":
        pytest.importorskip("datasets")
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    useful, noisy = load_released("google", location=path)
    assert (useful.kind, noisy.kind) == ("useful", "noisy")
    assert useful.prompt == prompt("Useful")
    assert useful.completion == "Doc 1: One thing.\nDoc 2: Another.\n"
    assert useful.query == "first king of Norway"
    assert useful.question == "Who was the first king, and where?"
    assert useful.answers == ("Harald Fairhair",)
    assert useful.source == RELEASED["google"]


def test_pairs_get_the_prompt_of_the_engine(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(FORMATS["alpaca"](prompt("Noisy"))) + "\n")
    (pair,) = load_released("google", location=path)
    request = SearchRequest(pair.query, pair.question, pair.answers, (False, False), 0)
    asked = PROMPT_SETS["tuned"].render(request, useful=False, num_documents=2)
    assert with_prompt(pair, PROMPT_SETS["tuned"]) == replace(pair, prompt=asked)
    unknown = with_prompt(replace(pair, answers=()), PROMPT_SETS["tuned"])
    assert "first king of Norway" in unknown.prompt and "Harald" not in unknown.prompt


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "all in one"}, r"rows.jsonl, line 1, field 'prompt'.*the row has \['text'\]"),
        ({"prompt": prompt("Useful")}, "field 'output'"),
        ({"prompt": "Say something", "completion": PAGE}, 'a line "Query: …"'),
    ],
)
def test_an_invalid_row_is_named(tmp_path, row, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(ValueError, match=words):
        load_released("wiki", location=path)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'google'"):
        load_released("gogle")


def test_pairs_are_balanced_without_excluded_questions(tmp_path):
    path = tmp_path / "rows.jsonl"
    kinds = ["Useful", "Useful", "Useful", "Noisy", "Noisy"]
    rows = [FORMATS["alpaca"](prompt(kind, f"q {n}")) for n, kind in enumerate(kinds)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    pairs = load_released("first", location=path)
    kept = balance(pairs)
    assert sorted(pair.kind for pair in kept) == ["noisy"] * 2 + ["useful"] * 2
    assert len({pair.prompt for pair in kept}) == 4
    assert balance(pairs, excluded=["who was the first king and where"]) == []
