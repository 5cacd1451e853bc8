"""The command from end to end: tables, files, JSON, refusals; and the benchmark that reads it."""

import csv
import json
from pathlib import Path

import pytest

from agents.cli.main import main

pytest.importorskip("bm25s")

FILES = ("audit.json", "questions.jsonl", "audit.html")


def _write(name, *rows):
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    """Six towers in each of two sets; passages name the builders of the even ones."""
    monkeypatch.chdir(tmp_path)
    for name in ("nq", "mine"):
        rows = [
            {
                "id": f"{name}{n}",
                "question": f"Who built {name} {n}?",
                "answers": [f"Ann {name}{n}"],
            }
            for n in range(6)
        ]
        _write(f"{name}.dev.jsonl", *rows)
    _write("train.jsonl", {"question": "who built NQ 3", "answers": ["Bob"]})
    _write(
        "passages.jsonl",
        *({"text": f"{name} {n} is of stone. Ann {name}{n} built it."}
          for name in ("nq", "mine") for n in range(0, 6, 2)),
    )  # fmt: skip


def _audit(*flags, questions=("nq.dev.jsonl", "mine=mine.dev.jsonl"), passages="passages.jsonl"):
    try:
        return main(["audit", "--questions", *questions, "--passages", passages, *flags])
    except SystemExit as refused:  # by tyro, of a recent version
        return refused.code


def test_tables_json_and_files(capsys):
    flags = ["--against", "train.jsonl", "--top-k", "1", "--output", "out", "--json"]
    assert _audit(*flags) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["sets"] == ["nq", "mine"] and figures["num_passages"] == 6
    assert [one["answerable"] for one in figures["figures"]] == [0.5, 0.5]
    assert figures["figures"][0]["also_in"] == {"mine": 0, "train": 1}
    assert "Answerable questions" in captured.err and "another set" in captured.err
    assert {name: value for name, value in figures.items() if name != "folder"} == json.loads(
        Path("out/audit.json").read_text()
    )
    rows = [json.loads(line) for line in Path("out/questions.jsonl").read_text().splitlines()]
    assert [row["answerable"] for row in rows] == [True, False] * 6
    assert [row["id"] for row in rows if row["also_in"]] == ["nq3"]
    # The same command gives the same bytes.
    before = [Path("out", name).read_bytes() for name in FILES]
    assert _audit(*flags) == 0
    assert [Path("out", name).read_bytes() for name in FILES] == before


def test_the_table_fits_into_80_columns(capsys):
    _write("q.jsonl", {"question": "Is nq 2 of stone?", "answers": ["yes"]})
    assert _audit("--output", "out", questions=("a_name_of_15_chr=nq.dev.jsonl", "q.jsonl")) == 0
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 80


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"questions": ("nowhere.jsonl",)}, "nowhere.jsonl"),
        ({"questions": ("nq.dev.jsonl", "nq=mine.dev.jsonl")}, "the set 'nq' twice"),
        ({"questions": ("naturalquestions",)}, "unknown question set"),
        ({"questions": (".",)}, "got '.', which is a folder; pass a file of questions"),
        ({"questions": ('{"kind": "world"}',)}, "a JSON spec needs a name"),
        ({"questions": ("nq=",)}, "got 'nq='; expected NAME=FILE"),
        ({"questions": ("empty.jsonl",)}, "empty.jsonl is empty"),
        ({"questions": ("passages.jsonl",)}, "field 'answers'"),
        ({"questions": ('w={"kind": "world"}',)}, "cannot be"),
        ({"passages": "nowhere.jsonl"}, "passage file nowhere.jsonl does not exist"),
        ({"passages": "empty.jsonl"}, "empty.jsonl is empty"),
        ({"passages": "nq.dev.jsonl"}, "field 'text'"),
    ],
)
def test_wrong_files_are_refused_with_a_hint(flags, hint, capsys):
    Path("empty.jsonl").write_text("")
    assert _audit("--output", "out", **flags) == 2
    assert hint in " ".join(capsys.readouterr().err.split())


def test_files_that_are_not_of_an_audit_are_not_replaced(capsys):
    Path("mine").mkdir()
    Path("mine/questions.jsonl").write_text("mine")
    assert _audit("--output", "mine") == 2
    assert "contains questions.jsonl but no audit.json" in capsys.readouterr().err
    assert Path("mine/questions.jsonl").read_text() == "mine"
    assert _audit("--output", "passages.jsonl") == 2
    assert "passages.jsonl cannot be created (it is a file)" in capsys.readouterr().err


def test_wrong_flags_are_refused_with_a_hint(capsys):
    assert _audit("--against", "train.jsonl", "nq=train.jsonl") == 2
    assert "the set 'nq' twice" in capsys.readouterr().err
    assert _audit("--top-k", "0") == 2
    assert "top-k must be at least 1, got 0" in capsys.readouterr().err
    assert _audit(questions=()) == 2
    assert "--questions is empty" in capsys.readouterr().err


def _benchmark(*flags, engine="passages.jsonl", agents=("quote-page",)):
    sets = ("nq=nq.dev.jsonl", "mine=mine.dev.jsonl")
    line = ["--agents", *agents, "--sets", *sets, "--engine", engine, "--output", "bench"]
    return main(["benchmark", *line, *flags])


def _means(name):
    with Path("bench", name).open(newline="") as file:
        return {
            (row["set"], row["metric"]): float(row["mean"])
            for row in csv.DictReader(file)
            if row["mean"]
        }


@pytest.mark.parametrize("audit", ["out", "engine"])
def test_a_benchmark_scores_the_answerable_questions_beside_all(audit, capsys):
    # Question ids and the names of sets do not matter.
    _audit("--output", "out", questions=("x=nq.dev.jsonl", "y=mine.dev.jsonl"))
    capsys.readouterr()
    assert _benchmark("--audit", audit, "--json") == 0
    captured = capsys.readouterr()
    part = json.loads(captured.out)["answerable"]
    counts = {"answerable": 3, "unknown": 0, "asked": 6, "share": 0.5}
    assert part["shares"] == {"nq": counts, "mine": counts}
    assert [one["questions"] for one in part["scores"]] == [3, 3, 6]
    # The agent quotes the best passage, which contains the answer of the answerable half.
    everything, answerable = _means("scores.csv"), _means("answerable.csv")
    assert everything["average", "cover_match"] == 0.5
    assert answerable["average", "cover_match"] == answerable["nq", "cover_match"] == 1.0
    assert "answerable questions only" in captured.err
    text = Path("bench/tables.md").read_text()
    assert "| share in percent | 50.0 | 50.0 | 50.0 |" in text
    assert "| questions asked | 6 | 6 | 12 |" in text
    # Without the flag, everything else is the same.
    assert _benchmark("--json") == 0
    assert json.loads(capsys.readouterr().out)["answerable"] is None
    assert _means("scores.csv") == everything and not Path("bench/answerable.csv").exists()


def test_a_benchmark_may_have_no_answerable_question():
    _write("none.jsonl", {"text": "Salt water is wet."})
    assert _benchmark("--audit", "engine", engine="none.jsonl") == 0
    assert "| share in percent | 0.0 | 0.0 | 0.0 |" in Path("bench/tables.md").read_text()


def test_an_audit_that_does_not_fit_is_refused_before_an_episode_is_played(capsys):
    _audit("--output", "out", questions=("nq.dev.jsonl",))
    _write("other.jsonl", {"text": "Ann nq0 built it."})
    cases = [
        (["--audit", "nowhere"], {}, "nowhere has no audit.json"),
        (["--audit", "out"], {}, "of the set 'mine' with these gold answers"),
        (["--audit", "out"], {"engine": "other.jsonl"}, "other passages than other.jsonl"),
        (["--audit", "engine"], {"engine": "none"}, "an engine with one passage file, got 'none'"),
    ]
    for flags, settings, hint in cases:
        capsys.readouterr()
        assert _benchmark(*flags, **settings) == 2
        assert hint in " ".join(capsys.readouterr().err.split())
        assert not list(Path("bench").glob("evaluations/*"))
