"""Training with a language model as the engine: recorded, replayed, and no key left lying."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from aiohttp import web
from safetensors.torch import load_file
from torch import equal

from tests.agents.llm.distributed.rank_processes import run_command
from tests.zs_env.simulator.generators.chat_server import ChatServer, chat
from zs_env.engines.google import KEY_VARIABLE
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.search.http_client import API_KEY_VARIABLE

KEYS = {
    API_KEY_VARIABLE: "sk-planted-4711-simulator",
    KEY_VARIABLE: "planted-0815-google",
    TOKEN_VARIABLE: "planted-1234-serve",
}
FLAGS = (
    *("--steps", "2", "--questions-per-step", "2", "--group-size", "3"),
    *("--num-documents", "2", "--max-turns", "3", "--max-new-tokens", "32"),
    *("--learning-rate", "0.01", "--eval-noise", "0", "--final-episodes", "4", "--threads", "1"),
    *("--checkpoint-every", "1", "--json"),
)


def librarian():
    """Writes pages that depend on the prompt; the first thing it does is to cry out the key."""
    served = iter(range(10**6))

    async def answer(body):
        if next(served) == 0:
            return web.Response(status=500, text=f"who is {KEYS[API_KEY_VARIABLE]}?")
        number = sum(body["messages"][-1]["content"].encode()) + body["seed"]
        return chat(
            f"Doc 1: page {number} a\nDoc 2: page {number} b\n",
            prompt_tokens=9,
            completion_tokens=20,
        )

    return answer


def train(output: Path, engine: dict, *flags: str, status: int = 0) -> CompletedProcess:
    # As the real engine too: a run's sample transcripts are of that.
    spec = json.dumps(engine)
    engines = ("--engine", spec, "--real-engine", spec)
    done = run_command(
        *("train", *FLAGS, *engines, "--output", str(output), *flags), environment=KEYS
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run that recorded its pages and one that replayed them, server stopped."""
    folder = tmp_path_factory.mktemp("runs")
    cache = {"kind": "cache", "path": str(folder / "pages.sqlite")}
    with ChatServer(librarian()) as server:
        generator = {"kind": "server", "servers": server.url, "model": "m"}
        simulator = {"kind": "simulator", "generator": generator, "retries": 1}
        metered = {"kind": "metered", "engine": simulator, "path": str(folder / "ledger.jsonl")}
        recorded = {**cache, "mode": "record", "engine": metered}
        outputs = [train(folder / "recorded", recorded)]
        asked = len(server.bodies)
        assert all(
            headers["Authorization"] == f"Bearer {KEYS[API_KEY_VARIABLE]}"
            for headers in server.headers
        )
    assert asked > 0
    outputs.append(train(folder / "replayed", {**cache, "mode": "replay"}))
    return folder, outputs


def same_weights(one: Path, other: Path) -> bool:
    first, second = (
        load_file(f"{end}/checkpoints/step-000002/model.safetensors") for end in (one, other)
    )
    return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)


def tokens_read(ledger: Path) -> int:
    return sum(json.loads(line)["prompt_tokens"] for line in ledger.read_text().splitlines())


def without_clock(text: str) -> str:
    return re.sub(r'"\w*seconds\w*": [\d.e+-]+', "", text)


def test_a_replay_without_the_server_is_the_same_to_the_bit(runs):
    folder, _ = runs
    assert same_weights(folder / "recorded", folder / "replayed")
    for name in ("samples.jsonl", "metrics.jsonl"):
        texts = [
            without_clock((folder / run / name).read_text("utf-8"))
            for run in ("recorded", "replayed")
        ]
        assert texts[0] and texts[0] == texts[1]


def test_pages_were_read(runs):
    folder, _ = runs
    assert '"engine": "simulator"' in (folder / "recorded" / "samples.jsonl").read_text("utf-8")
    assert len((folder / "ledger.jsonl").read_text("utf-8").splitlines()) > 1


def test_no_key_stands_in_anything_that_was_written(runs):
    folder, outputs = runs
    written = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    written |= {
        f"output {number}": f"{done.stdout}{done.stderr}".encode()
        for number, done in enumerate(outputs)
    }
    assert any(name.endswith("pages.sqlite") for name in written)
    for key in KEYS.values():
        assert [name for name, content in written.items() if key.encode() in content] == []


def test_what_the_pages_cost_is_counted_and_shown(runs):
    folder, (recorded, replayed) = runs
    costs, nothing = (
        json.loads((folder / name / "result.json").read_text())["costs"]
        for name in ("recorded", "replayed")
    )
    # One call was answered with an error.
    assert costs["prompt_tokens"] == 9 * (costs["calls"] - 1) > 0
    assert costs["searches"] == nothing["searches"] == nothing["cached"]
    assert nothing["calls"] == nothing["completion_tokens"] == 0
    assert "cost of the searches" in recorded.stderr
    assert "cost of the searches" not in replayed.stderr


def test_a_run_that_ran_out_of_money_goes_on_with_more_as_if_nothing_had_been(runs, tmp_path):
    folder, _ = runs
    spent = tokens_read(folder / "ledger.jsonl")

    def engine(server, budget):
        generator = {"kind": "server", "servers": server.url, "model": "m"}
        simulator = {"kind": "simulator", "generator": generator, "retries": 1}
        prices = {"prompt_tokens": 1e6}  # a dollar each
        metered = {"kind": "metered", "engine": simulator, "budget": budget, "prices": prices}
        ledger = {"path": str(tmp_path / "ledger.jsonl")}
        return {"kind": "cache", "path": str(tmp_path / "pages.sqlite"), "engine": metered | ledger}

    with ChatServer(librarian()) as server:
        done = train(tmp_path / "run", engine(server, 0.7 * spent), status=1)
    assert "raise the budget" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()
    with ChatServer(librarian()) as server:
        train(tmp_path / "run", engine(server, 2 * spent), "--resume")
    assert same_weights(tmp_path / "run", folder / "recorded")
    assert tokens_read(tmp_path / "ledger.jsonl") == spent
