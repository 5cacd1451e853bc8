"""Training with a language model as the engine: recorded, replayed, and no key left lying."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from safetensors.torch import load_file
from torch import equal

from tests.zs_env.simulator.chat_server import ChatServer, chat
from zs_env.engines.google import KEY_VARIABLE
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.simulator.server_writer import API_KEY_VARIABLE

KEYS = {
    API_KEY_VARIABLE: "sk-planted-4711-simulator",
    KEY_VARIABLE: "planted-0815-google",
    TOKEN_VARIABLE: "planted-1234-serve",
}
FLAGS = (
    *("--steps", "2", "--questions-per-step", "2", "--group-size", "3"),
    *("--num-documents", "2", "--max-turns", "3"),
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
        return chat(f"Doc 1: page {number} a\nDoc 2: page {number} b\n", prompt_tokens=9)

    return answer


def train(output: Path, engine: dict) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "agents.cli", "train", *FLAGS]
    # As the real engine too: a run's sample transcripts are of that.
    spec = json.dumps(engine)
    command += ["--engine", spec, "--real-engine", spec, "--output", str(output)]
    environment = {**os.environ, **KEYS}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run that recorded its pages and one that replayed them, server stopped."""
    folder = tmp_path_factory.mktemp("runs")
    cache = {"kind": "cache", "path": str(folder / "pages.sqlite")}
    with ChatServer(librarian()) as server:
        writer = {"kind": "server", "servers": server.url, "model": "m"}
        simulator = {"kind": "simulator", "writer": writer, "retries": 1}
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


def without_clock(text: str) -> str:
    return re.sub(r'"\w*seconds\w*": [\d.e+-]+', "", text)


def test_a_replay_without_the_server_is_the_same_to_the_bit(runs):
    folder, _ = runs
    ends = [folder / name / "checkpoints" / "step-000002" for name in ("recorded", "replayed")]
    one, other = (load_file(end / "model.safetensors") for end in ends)
    assert one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
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
