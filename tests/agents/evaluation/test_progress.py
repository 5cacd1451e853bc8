"""Progress in a log file: a line after five seconds, and then every 30 seconds."""

import io
import json
import threading

import pytest
from rich.console import Console

from agents.cli.main import main
from agents.evaluation import progress
from agents.evaluation.progress import ProgressBar
from zs_env.engines import BM25Engine


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def _bar(clock, description="pages", *, is_terminal=False, **settings):
    console = Console(file=io.StringIO(), width=80, force_terminal=is_terminal)
    return ProgressBar(console, description, clock=clock, **settings)


def _lines(bar):
    return bar.console.file.getvalue().splitlines()


def _at(bar, clock, seconds):
    clock.now_s = 100.0 + seconds
    bar.print_if_due()


def test_the_first_line_follows_after_five_seconds_and_others_every_thirty(clock):
    bar = _bar(clock, total=40)
    for second in range(100):
        bar.update(second // 10, "f1 0.500")
        _at(bar, clock, second)
    assert _lines(bar) == [
        "pages 0/40, 5 s  f1 0.500",
        "pages 3/40, 35 s  f1 0.500",
        "pages 6/40, 65 s  f1 0.500",
        "pages 9/40, 95 s  f1 0.500",
    ]


def test_what_ends_within_five_seconds_prints_nothing(clock):
    with _bar(clock, total=40) as bar:
        _at(bar, clock, 4.9)
    _at(bar, clock, 60.0)
    assert _lines(bar) == []


def test_a_wait_without_an_item_is_reported_as_well(clock):
    bar = _bar(clock, "loading the policy")
    _at(bar, clock, 7.0)
    bar.count("demonstrations", 3, 10)
    _at(bar, clock, 38.0)
    bar.count("step", 0, None)
    _at(bar, clock, 70.0)
    expected = ["loading the policy, 7 s", "demonstrations 3/10, 38 s", "step, 70 s"]
    assert _lines(bar) == expected


def test_a_thread_prints_the_lines_while_the_caller_waits(clock, monkeypatch):
    monkeypatch.setattr(progress, "_CHECK_EVERY_S", 0.001)
    bar, printed = _bar(clock, "judging"), threading.Event()
    monkeypatch.setattr(bar, "print", lambda text: (bar.console.print(text), printed.set()))
    with bar:
        clock.now_s += 6.0
        assert printed.wait(timeout=60.0)
    assert _lines(bar) == ["judging, 6 s"]


def test_updates_that_are_printed_themselves_need_no_further_line(clock):
    bar = _bar(clock, "step", total=3, print_updates=True)
    clock.now_s += 4.0
    bar.update(1, "reward 0.500")
    _at(bar, clock, 33.0)
    _at(bar, clock, 34.0)
    assert _lines(bar) == ["step 1/3  reward 0.500", "step 1/3, 34 s  reward 0.500"]


def test_a_terminal_has_no_thread_and_a_quiet_console_no_lines(clock):
    before = set(threading.enumerate())
    with ProgressBar(Console(quiet=True), clock=clock):
        assert set(threading.enumerate()) <= before
    bar = _bar(clock)
    bar.console.quiet = True
    _at(bar, clock, 50.0)
    assert _lines(bar) == []


def test_an_index_reports_the_passages_that_it_read(tmp_path):
    rows = [json.dumps({"text": f"Word{n} is a word."}) for n in range(50)]
    (tmp_path / "p.jsonl").write_text("\n".join(rows) + "\n")
    reports = []
    BM25Engine(tmp_path / "p.jsonl", progress=lambda *report: reports.append(report))
    assert reports == [("reading passages", 0, None)]


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--agent", "search-once", "--episodes", "2", "--output", "out"],
        ["sweep-noise", "--agents", "search-once", "--episodes", "2", "--output", "out"],
        ["index", "--passages", "p.jsonl"],
        [
            *("benchmark", "--agents", "search-once", "--engine", "p.jsonl"),
            *("--sets", "mine=q.jsonl", "--output", "out"),
        ],
    ],
)
def test_commands_report_what_takes_long(tmp_path, monkeypatch, capsys, command):
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": "Ann built it."}) + "\n")
    row = {"question": "Who built it?", "answers": ["Ann"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "_FIRST_LINE_S", 0.0)
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    monkeypatch.setattr(
        ProgressBar, "__exit__", lambda bar, *_: (bar.print_if_due(), bar._ended.set())
    )
    assert main(command) == 0
    assert ", 0 s" in capsys.readouterr().err
