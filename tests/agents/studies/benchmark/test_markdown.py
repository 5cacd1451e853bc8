"""Tables in the paper's layout, with published rows."""

import pytest

from agents.evaluation.statistics import Interval
from agents.studies.benchmark.config import AVERAGE, PAPER_SETS
from agents.studies.benchmark.markdown import TABLES, document, load_published
from agents.studies.benchmark.scores import METRICS, SCORES, Score


def _scores(*names, agent="x"):
    interval = Interval(0.5, 0.25, 0.754)
    return [
        Score(
            agent=agent, set=name, metrics=dict.fromkeys(METRICS, interval), questions=4,
            episodes=8, failures=3, failed_questions=0,
        )
        for name in (*names, AVERAGE)
    ]  # fmt: skip


def _rows(text, title):
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_columns_are_those_of_the_paper():
    text = document("about", _scores(*PAPER_SETS), [])
    for title, _ in TABLES.values():
        header, _, first, *_ = _rows(text, title)
        assert header == ["method", "NQ", "TriviaQA", "PopQA", "HotpotQA", "2Wiki", "MuSiQue",
                          "Bamboogle", "Avg"]  # fmt: skip
        assert first == ["x", *["50.0 [25.0, 75.4]"] * 8]
    assert set(TABLES) == set(SCORES)


def test_published_rows_are_marked_and_shown_under_their_metric_only():
    text = document("about", _scores(*PAPER_SETS), [])
    assert len(_rows(text, "Exact match")) == 3
    rows = {row[0]: row[1:] for row in _rows(text, "Substring match")[3:]}
    assert all(name.endswith("†") for name in rows)
    assert rows["ZeroSearch-base, Qwen2.5-7B †"] == [
        "42.4", "66.4", "60.4", "32.0", "34.0", "18.0", "33.3 (of 72)", "40.9"
    ]  # fmt: skip
    assert rows["RAG, Qwen2.5-3B †"][-2:] == ["15.2 (of 125)", "25.1"]
    assert "† Published" in text and "substring match" in text and "Google" in text


def test_published_averages_are_of_the_sets_shown():
    rows = {row[0]: row[1:] for row in _rows(
        document("about", _scores("nq", "popqa"), []), "Substring match"
    )}  # fmt: skip
    assert rows["Direct, Qwen2.5-7B †"] == ["11.6", "1.2", "6.4"]
    rows = {row[0]: row[1:] for row in _rows(
        document("about", _scores("nq", "mine"), []), "Substring match"
    )}  # fmt: skip
    assert rows["Direct, Qwen2.5-7B †"] == ["11.6", "-", "-"]


def test_trained_rows_count_72_bamboogle_questions_and_are_multiples_of_a_72nd():
    for row in load_published()["rows"]:
        correct = row["scores"]["bamboogle"] / 100 * row["bamboogle_questions"]
        assert correct == pytest.approx(round(correct), abs=0.01), row
        others = [score for name, score in row["scores"].items() if name != "bamboogle"]
        assert all(score * 5 == pytest.approx(round(score * 5)) for score in others), row  # of 500


def test_failures_are_in_the_table():
    played = _rows(document("about", _scores("nq"), []), "What was played")
    assert played[2][:5] == ["x", "NQ", "4", "8", "3"]


def test_bars_in_names_are_escaped():
    rows = _rows(document("about", _scores("nq", agent="a|b"), []), "F1")
    assert rows[2][0] == "a&#124;b"
