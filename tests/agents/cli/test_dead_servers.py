"""Servers that cannot be reached end every command before it loads, plays or trains anything."""

import json
import socket

import pytest

from agents.cli.main import main
from agents.specs import served_models

QUESTION = {"question": "Who built it?", "answers": ["Ann"]}


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The URL of a server that does not run; the working folder has questions.jsonl."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION) + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def model(url):
    return {"kind": "server", "servers": url}


def simulator(url):
    return json.dumps({"kind": "simulator", "generator": model(url)})


def cached(url):
    return json.dumps(
        {"kind": "cache", "path": "pages.sqlite", "engine": json.loads(simulator(url))}
    )


def agent(url):
    return json.dumps({"kind": "rag", "generator": model(url)})


TRAIN = ["train", "--policy", "tiny", "--output", "run"]
BENCHMARK = ["benchmark", "--sets", "nq=q.jsonl", "--output", "out"]
TUNE = ["tune-simulator", "run", "--model", "m", "--questions", "q.jsonl", "--output", "out"]
COMMANDS = {
    "evaluate": lambda url: ["evaluate", "--agent", "search-once", "--engine", cached(url)],
    "evaluate, agent": lambda url: ["evaluate", "--agent", agent(url)],
    "ask": lambda url: ["ask", "Who?", "--policy", "search-once", "--engine", cached(url)],
    "sweep-noise": lambda url: ["sweep-noise", "--agents", "random", "--engine", simulator(url)],
    "sweep-noise, second agent": lambda url: ["sweep-noise", "--agents", "random", agent(url)],
    "benchmark": lambda url: [*BENCHMARK, "--agents", "random", "--engine", simulator(url)],
    "benchmark, second agent": lambda url: [
        *(*BENCHMARK, "--agents", "random", agent(url), "--engine", "none"),
    ],
    "train": lambda url: [*TRAIN, "--engine", simulator(url)],
    "train, evaluation": lambda url: [*TRAIN, "--eval-engine", simulator(url)],
    "train, real engine": lambda url: [
        *(*TRAIN, "--real-engine", json.dumps({"kind": "http", "url": url})),
    ],
    "train, generator": lambda url: [
        *(*TRAIN, "--generator", json.dumps({"kind": "vllm-server", "servers": [url]})),
    ],
    "train-sb3": lambda url: ["train-sb3", "--engine", simulator(url), "--output", "out"],
    "tune-simulator": lambda url: [*TUNE, "--engine", json.dumps({"kind": "http", "url": url})],
    "tune-simulator, judge": lambda url: [
        *(*TUNE, "--engine", "world", "--judge-model", json.dumps(model(url))),
    ],
    "tune-simulator, report": lambda url: [
        *("tune-simulator", "report", "--output", "out", "--before", json.dumps(model(url))),
    ],
    "serve-search": lambda url: ["serve-search", "--engine", cached(url), "--port", "0"],
    "play": lambda url: ["play", "--engine", simulator(url)],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dead_server_is_named_with_the_cause_and_nothing_is_written(name, url, tmp_path, capsys):
    assert main(COMMANDS[name](url)) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert url.removesuffix("/v1") in error and "refused" in error.lower(), error
    kept = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.json*")]
    assert [str(path) for path in kept] == ["q.jsonl"]


def test_stored_pages_need_no_server(url, tmp_path):
    spec = json.loads(cached(url))
    with pytest.raises(ConnectionError, match="refused"):
        served_models(spec)
    assert served_models({**spec, "mode": "replay"}) == {}
    (tmp_path / "pages.sqlite").touch()
    assert served_models(spec) == {}


def test_counterfactuals_check_the_servers_of_the_evaluation(url, tmp_path, capsys):
    evaluate = ["evaluate", "--agent", "search-once", "--episodes", "1", "--output", "out"]
    assert main([*evaluate, "--engine", "world"]) == 0
    path = tmp_path / "out" / "evaluation.json"
    setting = json.loads(path.read_text())
    setting["env_kwargs"]["engine"] = json.loads(simulator(url))
    path.write_text(json.dumps(setting))
    assert main(["counterfactuals", "--evaluation", "out"]) == 1
    assert url in " ".join(capsys.readouterr().err.split())
