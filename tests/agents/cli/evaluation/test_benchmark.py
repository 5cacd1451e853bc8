"""The command from end to end: interruption, recomputation, refusals."""

import csv
import gzip
import json
import os
import re
import signal
import string
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from agents.cli.main import main
from agents.storage.output_folder import folder_lock
from tests.paths import ROOT
from zs_env import Document, SearchError, SearchPage
from zs_env.config.engines import ENGINE_KINDS

FILES = ("results.jsonl", "scores.csv", "comparisons.csv", "tables.md", "sample.json")


@pytest.fixture(autouse=True)
def _sets(tmp_path, monkeypatch):
    """Two sets of twelve questions, and passages that answer some of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("nq", "mine"):
        rows = [
            {"id": f"{name}{n}", "question": f"Who built the tower {n}?", "answers": [f"Ann {n}"]}
            for n in range(12)
        ]
        rows[0]["answers"] = ["The The"]
        with gzip.open(f"{name}.jsonl.gz", "wt") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
    passages = [{"text": f"The tower {n} is of stone. Ann {n} built it."} for n in range(0, 12, 2)]
    Path("passages.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in passages))


class Shaky:
    """Knows every answer, and fails on every third tower."""

    in_process = True

    def search(self, requests):
        numbers = [int(re.findall(r"\d+", request.question)[0]) for request in requests]
        return [
            SearchError("fell over")
            if number % 3 == 0
            else SearchPage((Document(text=f"Ann {number} built it."),))
            for number in numbers
        ]


@pytest.fixture
def _shaky(monkeypatch):
    monkeypatch.setitem(ENGINE_KINDS, "shaky", lambda questions: Shaky())


def _flags(*flags, agents=("search-once", "answer-at-once"), engine="none", output="out"):
    return ["benchmark", "--agents", *agents, "--sets", "nq=nq.jsonl.gz", "mine=mine.jsonl.gz",
            "--engine", engine, "--output", output, *flags]  # fmt: skip


def _rows(output="out"):
    return _lines(Path(output, "results.jsonl"))


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _scores(output="out"):
    with open(Path(output, "scores.csv"), newline="") as file:
        return {(row["agent"], row["set"], row["metric"]): row for row in csv.DictReader(file)}


def test_there_is_a_row_for_each_agent_set_repeat_and_question(capsys):
    assert main(_flags("--repeats", "2", "--json")) == 0
    rows = _rows()
    keys = {(row["agent"], row["set"], row["repeat"], row["question_id"]) for row in rows}
    assert len(rows) == len(keys) == 2 * 2 * 2 * 12
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert [(one["agent"], one["set"], one["episodes"]) for one in figures["scores"]] == [
        (agent, name, episodes)
        for agent in ("search-once", "answer-at-once")
        for name, episodes in (("nq", 24), ("mine", 24), ("average", 48))
    ]
    assert len(figures["comparisons"]) == 3
    assert "search-once on nq" in captured.err
    assert all(Path("out", name).stat().st_size for name in FILES)
    assert "answer-at-once" in Path("out/report.html").read_text()


def test_two_agents_get_the_same_questions_and_seeds():
    main(_flags("--questions-per-set", "5", agents=("search-once", "quote-page")))
    evaluations = [
        _lines(Path(f"out/evaluations/{agent}/nq/0/transcripts.jsonl"))
        for agent in ("search-once", "quote-page")
    ]
    sample = json.loads(Path("out/sample.json").read_text())["nq"]["ids"]
    for first, second in zip(*evaluations, strict=True):
        assert first["seed"] == second["seed"]
        assert first["turns"][0]["request"] == second["turns"][0]["request"]
    assert [one["question"]["id"] for one in evaluations[0]] == sample


def _plain(text):
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def test_every_figure_is_computed_from_the_transcripts(_shaky, capsys):
    main(_flags(engine="shaky", agents=("search-once", "answer-at-once", "quote-page")))
    before = {name: Path("out", name).read_bytes() for name in FILES}
    # Recompute the means from the lines of the transcripts, without this package.
    exact, failures = defaultdict(list), defaultdict(int)
    for path in Path("out/evaluations").glob("*/*/0/transcripts.jsonl"):
        key = (path.parts[2], path.parts[3])
        for line in path.read_text().splitlines():
            transcript = json.loads(line)
            if transcript["reason"] == "failure":
                failures[key] += 1
                continue
            prediction = _plain(transcript["turns"][-1]["action"].get("answer", "\0"))
            golds = [_plain(gold) for gold in transcript["question"]["answers"]]
            exact[key].append(float(prediction in golds))
    scores = _scores()
    for (agent, name), hits in exact.items():
        row = scores[agent, name, "exact_match"]
        assert float(row["mean"]) == pytest.approx(sum(hits) / len(hits))
        assert int(row["failures"]) == failures[agent, name]
        assert int(row["episodes"]) == len(hits) + failures[agent, name] == 12
    for agent in ("search-once", "answer-at-once", "quote-page"):
        means = [sum(exact[agent, name]) / len(exact[agent, name]) for name in ("nq", "mine")]
        mean = float(scores[agent, "average", "exact_match"]["mean"])
        assert mean == pytest.approx(sum(means) / 2)
    assert sum(failures.values()) == 2 * 2 * 4  # two agents search, two sets, towers 0, 3, 6 and 9
    assert "ended 4 of 12 episodes" in capsys.readouterr().err
    # The same command recomputes all files.
    for name in FILES:
        if name != "sample.json":
            Path("out", name).unlink()
    for path in Path("out/evaluations").glob("*/*/0/episodes.jsonl"):
        lines = [line | {"f1": 0.9, "exact_match": 1.0} for line in _lines(path)]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    main(_flags(engine="shaky", agents=("search-once", "answer-at-once", "quote-page")))
    assert {name: Path("out", name).read_bytes() for name in FILES} == before


KILLED = """
import os, signal
from agents.baselines import RandomWords

class Dies(RandomWords):
    left = int(os.environ.get("ACTIONS", "1000000"))
    def act(self, observation):
        Dies.left -= 1
        if Dies.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observation)
"""


def test_a_killed_benchmark_continues_without_repeating_or_losing_an_episode():
    Path("killed.py").write_text(KILLED)
    flags = ["--repeats", "2", "--concurrency", "3"]
    agents = ("search-once", "killed:Dies")
    command = [sys.executable, "-m", "agents.cli", *_flags(*flags, agents=agents)]

    def run(actions):
        environment = os.environ | {"ACTIONS": str(actions), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True).returncode

    # Killed during the first set, at its first action, and during later ones; then complete.
    statuses = [run(actions) for actions in (17, 1, 60, 1_000_000)]
    assert statuses == [-signal.SIGKILL] * 3 + [0]
    asked = json.loads(Path("out/sample.json").read_text())
    folders = [path.parent for path in Path("out/evaluations").glob("*/*/*/transcripts.jsonl")]
    assert len(folders) == 8
    for folder in folders:
        lines = (folder / "transcripts.jsonl").read_text().splitlines()
        played = [json.loads(line)["question"]["id"] for line in lines]
        assert played == asked[folder.parent.name]["ids"]
    assert main(_flags(*flags, agents=agents, output="whole")) == 0
    for name in FILES:
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


def test_agents_sets_and_repeats_can_be_added(capsys):
    main(_flags(agents=("search-once",)))
    main(_flags("--repeats", "2"))
    err = capsys.readouterr().err
    assert "search-once on nq, repeat 1" in err and "answer-at-once on nq" in err
    main(_flags("--repeats", "2", output="fresh"))
    for name in FILES:
        assert Path("out", name).read_bytes() == Path("fresh", name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--seed", "1"], "seed was 0, now 1"),
        (["--noise", "0.5"], "noise was None, now 0.5"),
        (["--max-turns", "2"], "env_kwargs was"),
        (["--temperature", "1"], "temperature was 0.0"),
        (["--questions-per-set", "3"], "another sample of 'nq'"),
        (["--sample-seed", "1"], "another sample of 'nq'"),
    ],
)
def test_another_setting_in_the_same_folder_is_refused(flags, hint, capsys):
    assert main(_flags("--questions-per-set", "6")) == 0
    before = Path("out/results.jsonl").read_bytes()
    size = [] if "--questions-per-set" in flags else ["--questions-per-set", "6"]
    assert main(_flags(*size, *flags)) == 2
    error = capsys.readouterr().err
    assert hint in error and "choose another --output" in error
    assert Path("out/results.jsonl").read_bytes() == before


def test_changed_questions_are_refused(capsys):
    main(_flags())
    text = gzip.decompress(Path("nq.jsonl.gz").read_bytes())
    Path("nq.jsonl.gz").write_bytes(text.replace(b"Ann 3", b"Bob 3"))
    assert main(_flags()) == 2
    assert "another sample of 'nq'" in capsys.readouterr().err


def test_a_given_sample_is_used_and_other_questions_with_its_ids_are_refused(capsys):
    main(_flags("--questions-per-set", "4"))
    main(_flags("--sample", "out/sample.json", output="again"))
    assert Path("again/results.jsonl").read_bytes() == Path("out/results.jsonl").read_bytes()
    Path("mine.json").write_text(json.dumps({"nq": ["nq7", "nq2"], "mine": ["mine1"]}))
    main(_flags("--sample", "mine.json", agents=("answer-at-once",), output="by-hand"))
    assert [row["question_id"] for row in _rows("by-hand")] == ["nq7", "nq2", "mine1"]
    capsys.readouterr()
    for sample, hint in (
        ({"nq": ["nq7"]}, "no sample of 'mine'"),
        ({"nq": ["nq99"], "mine": ["mine1"]}, "'nq99'"),
        ({"nq": {"ids": ["nq7"], "digest": "0"}, "mine": ["mine1"]}, "other texts or gold"),
    ):
        Path("mine.json").write_text(json.dumps(sample))
        assert main(_flags("--sample", "mine.json", output=f"wrong {len(hint)}")) == 2
        assert hint in capsys.readouterr().err


def test_an_agent_can_have_a_label_which_belongs_to_that_agent(capsys):
    main(_flags(agents=("once=search-once", "search-once")))
    scores = _scores()
    assert scores["once", "nq", "f1"]["mean"] == scores["search-once", "nq", "f1"]["mean"]
    assert main(_flags(agents=("once=quote-page",))) == 2
    assert "agent was 'search-once', now 'quote-page'" in capsys.readouterr().err


def test_repeats_of_a_language_model_use_different_seeds():
    pytest.importorskip("torch")
    flags = ["--repeats", "2", "--temperature", "1", "--questions-per-set", "3"]
    for output in ("out", "again"):
        main(_flags(*flags, agents=("tiny",), output=output))
    texts = [
        [[turn["text"] for turn in line["turns"]] for line in _lines(path)]
        for folder in ("out", "again")
        for path in sorted(Path(folder, "evaluations/tiny/nq").glob("*/transcripts.jsonl"))
    ]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]


def test_the_papers_sample_is_500_of_each_set_and_full_is_all():
    rows = [{"id": f"q{n}", "question": f"{n}?", "answers": ["x"]} for n in range(510)]
    Path("nq.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for flags, size in (([], 500), (["--questions-per-set", "full"], 510)):
        line = ["--agents", "answer-at-once", "--sets", "nq=nq.jsonl", "--engine", "none"]
        main(["benchmark", *line, "--output", str(size), *flags])
        assert len(_rows(str(size))) == size


def test_f1_can_count_characters_of_recorded_episodes():
    rows = [{"id": "q", "question": "Which town? It is Beijing City", "answers": ["Beijing"]}]
    Path("nq.jsonl.gz").write_text(f"{json.dumps(rows[0])}\n")
    flags = _flags(agents=("answer-at-once",))
    main(flags)
    # "It" is answered: it shares "i" and none of "t"s with "beijing": 2 * 1 / (2 + 7).
    assert [row["f1"] for row in _rows() if row["set"] == "nq"] == [0.0]
    main([*flags, "--f1-tokens", "characters"])
    assert [row["f1"] for row in _rows() if row["set"] == "nq"] == [pytest.approx(2 / 9)]


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--agents", "random", "random"], "name each agent once"),
        (["--repeats", "0"], "repeats"),
        (["--sample", "s.json", "--questions-per-set", "3"], "pass one of them"),
        (["--questions-per-set", "0"], "at least 1"),
        (["--engine", "bm26"], "Did you mean 'bm25'"),
        (["--sets", "nq=nowhere.jsonl"], "nowhere.jsonl"),
        (["--sets", "average=nq.jsonl.gz"], "the mean over the sets"),
        (["--agents", "x="], "an empty one"),
    ],
)
def test_invalid_flags_are_refused_with_a_hint(flags, hint, capsys):
    given = {"--agents": ["random"], "--engine": ["none"], "--sets": ["nq=nq.jsonl.gz"]}
    given = {flag: values for flag, values in given.items() if flag not in flags}
    line = [part for flag, values in given.items() for part in (flag, *values)]
    try:
        status = main(["benchmark", *line, *flags])
    except SystemExit as end:  # flags that exclude each other
        status = end.code
    assert status == 2
    assert hint in " ".join(capsys.readouterr().err.split())


class Down:
    """A server that is unreachable at first."""

    in_process = True
    down = True

    def search(self, requests):
        if Down.down:
            return [SearchError("connection refused")] * len(requests)
        return [SearchPage((Document(text=one.question),)) for one in requests]


def test_an_engine_failure_gives_status_1_and_its_episodes_are_replayed(monkeypatch, capsys):
    monkeypatch.setitem(ENGINE_KINDS, "down", lambda questions: Down())
    monkeypatch.setattr(Down, "down", True)
    assert main(_flags(engine="down")) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "search-once on nq: a failure ended 12 of 12 episodes" in error
    assert "connection refused" in error
    monkeypatch.setattr(Down, "down", False)
    assert main(_flags(engine="down")) == 0
    assert main(_flags(engine="down", output="whole")) == 0
    for name in FILES:
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


def _reported():
    text = Path("out/report.html").read_text()
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', text)
    return json.loads(found[1])["evaluations"]


def test_the_report_uses_the_labels_of_the_tables():
    main(_flags(agents=("once=search-once", "search-once")))
    names = [(one["agent"], one["set"]) for one in _reported()]
    assert names == [(agent, name) for agent in ("once", "search-once") for name in ("nq", "mine")]


def test_the_report_shows_the_f1_of_the_tables():
    row = {"id": "q", "question": "Which town? It is Beijing City", "answers": ["Beijing"]}
    Path("nq.jsonl.gz").write_text(f"{json.dumps(row)}\n")
    main(_flags("--f1-tokens", "characters", agents=("answer-at-once",)))
    assert _reported()[0]["f1"][0] == pytest.approx(2 / 9)


def test_a_failed_first_command_does_not_block_the_folder(capsys):
    flags = {"agents": ("answer-at-once",), "output": "a[/b]"}
    assert main(_flags("--questions-per-set", "3", **flags | {"engine": "nowhere.jsonl"})) == 2
    assert main(_flags("--questions-per-set", "4", **flags)) == 0
    assert "transcripts: a[/b]" in capsys.readouterr().err


def test_changed_passages_are_refused(capsys):
    pytest.importorskip("bm25s")
    assert main(_flags(engine="passages.jsonl")) == 0
    text = Path("passages.jsonl").read_text()
    Path("passages.jsonl").write_text(text.replace("Ann", "Bob"))
    assert main(_flags(engine="passages.jsonl", agents=("quote-page",))) == 2
    assert "another benchmark (files was" in capsys.readouterr().err


def test_a_second_process_is_refused(capsys):
    with folder_lock(Path("out")):
        assert main(_flags()) == 2
    assert "another process writes" in capsys.readouterr().err


def test_unencodable_ids_are_escaped():
    row = {"id": "\ud801", "question": "Who?", "answers": ["Ann"]}
    Path("nq.jsonl.gz").write_text(f"{json.dumps(row)}\n")
    assert main(_flags(agents=("answer-at-once",))) == 0
    assert _rows()[0]["question_id"] == "\ud801"
