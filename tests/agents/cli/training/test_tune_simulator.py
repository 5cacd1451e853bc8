"""All stages with a small corpus and a small model."""

import json
import shutil

import pytest
from datasets import load_from_disk

from agents.cli.training.tune_simulator import main
from tests.zs_env.simulator.generators.chat_server import ChatServer, chat

TOWNS = ("Arda", "Belm", "Cort", "Dune", "Elba", "Fenn", "Gord", "Hult", "Irst", "Jura")


@pytest.fixture(scope="module")
def flags(make_worded_llama, tmp_path_factory):
    """Flags of a small run, and its folder."""
    folder = tmp_path_factory.mktemp("tuning")
    for part in make_worded_llama(max_position_embeddings=1024):
        part.save_pretrained(folder / "model")
    rows = {
        "questions.jsonl": [
            {"id": town, "question": f"Who founded {town}?", "answers": [f"Person {town.lower()}"]}
            for town in TOWNS
        ],
        "passages.jsonl": [
            {
                "title": town,
                "text": f"{town} has {n} mills" + f" of Person {town.lower()}" * (n < 3),
            }
            for town in TOWNS
            for n in range(8)
        ],
    }
    for name, lines in rows.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [
        *("--questions", str(folder / "questions.jsonl")),
        *("--engine", str(folder / "passages.jsonl"), "--output", str(folder / "out")),
        *("--episodes", "10", "--page-documents", "8", "--num-documents", "2", "--held-out", "0.4"),
        *("--num-words", "8", "--model", str(folder / "model"), "--batch-size", "2"),
        *("--micro-batch-size", "1", "--no-bf16", "--report-queries", "2", "--json"),
    ], folder / "out"


def test_run_executes_all_stages(flags, capsys):
    arguments, output = flags
    assert main(["run", *arguments]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["pages"] == {"useful": 2, "noisy": 2}
    assert {"before", "after", "real_engine"} <= set(printed)
    assert printed["real_engine"]["useful_hit_rate"]["mean"] == 1.0
    assert printed["real_engine"]["noisy_leak_rate"]["mean"] == 0.0
    data = load_from_disk(str(output / "data" / "dataset"))
    assert {row["question"] for row in data["train"]}.isdisjoint(
        row["question"] for row in data["held_out"]
    )
    assert (output / "tuned" / "model" / "model.safetensors").exists()
    assert (output / "report" / "report.png").stat().st_size > 1000
    assert "held-out" not in (output / "report" / "samples.html").read_text()


def test_the_model_of_a_report_may_be_on_a_server(flags, capsys):
    arguments, output = flags
    if not (output / "data").exists():
        main(["run", *arguments])
    capsys.readouterr()

    async def answer(body):
        return chat("Doc 1: mills of Person arda\nDoc 2: mills and nothing more")

    with ChatServer(answer) as server:
        generator = json.dumps({"kind": "server", "servers": server.url})
        assert main(["report", *arguments, "--after", generator]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["after"]["exact_count_rate"]["mean"] == 1.0
    assert {body["max_tokens"] for body in server.bodies} == {2 * 8 * 4}
    # Four unchecked pages, two useful pages that pass the checks, and two noisy pages that fail
    # each of three tries.
    assert len(server.bodies) == 4 + 2 + 2 * 3


def test_invalid_json_of_a_generator_names_its_flag(flags):
    arguments, output = flags
    if not (output / "data").exists():
        main(["run", *arguments])
    with pytest.raises(ValueError, match="--after is not valid JSON"):
        main(["report", *arguments, "--after", "{kind"])


def test_the_report_compares_prompted_and_grounded_pages(flags, capsys):
    arguments, output = flags
    if not (output / "data").exists():
        main(["run", *arguments])
    capsys.readouterr()

    async def answer(body):
        text = body["messages"][-1]["content"]
        if text.startswith("Text: "):
            return chat(text.splitlines()[0].removeprefix("Text: "))
        return chat("Doc 1: sold 7 mills in Peru by Nobody\nDoc 2: saw 7 mills in Peru by Nobody")

    with ChatServer(answer) as server:
        generator = json.dumps({"kind": "server", "servers": server.url})
        assert main(["report", *arguments, "--before", generator]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = {
        name: [
            printed[name][metric]["mean"]
            for metric in ("support_rate", "useful_hit_rate", "noisy_leak_rate")
        ]
        for name in ("prompted", "grounded", "real_engine")
    }
    # Each town has passages with the numbers 0 to 7; Peru and Nobody are in none.
    assert figures["prompted"] == [pytest.approx(1 / 3), 0.0, 0.0]
    # The model repeats the passages. Only those with an answer are sources of useful documents.
    assert figures["grounded"] == figures["real_engine"] == [1.0, 1.0, 0.0]
    grounded = [body for body in server.bodies if body["max_tokens"] == 8 * 4]
    assert {body["temperature"] for body in grounded} == {0.3}


def test_a_report_without_a_tuned_model_leaves_it_out(flags, capsys, tmp_path):
    arguments, output = flags
    if not (output / "data").exists():
        main(["run", *arguments])
    shutil.copytree(output / "data", tmp_path / "data")
    capsys.readouterr()

    async def answer(body):
        return chat("Doc 1: some mills\nDoc 2: other mills")

    with ChatServer(answer) as server:
        generator = json.dumps({"kind": "server", "servers": server.url})
        where = ["--output", str(tmp_path), "--before", generator]
        assert main(["report", *arguments, *where]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(printed) == {"pages", "real_engine", "before", "prompted", "grounded"}
    assert printed["grounded"]["exact_count_rate"]["mean"] == 1.0
