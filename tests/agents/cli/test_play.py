"""`zerosearch play` with typed lines."""

import io

import pytest

from agents.cli.main import main
from agents.cli.play import action_from_line


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("who built it", "<search>who built it</search>"),
        (" = Ann Lee ", "<answer>Ann Lee</answer>"),
        ("<answer>Ann</answer>", "<answer>Ann</answer>"),
    ],
)
def test_a_typed_line_becomes_an_action(line, text):
    assert action_from_line(line) == text


def _play(monkeypatch, capsys, typed, *flags):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["play", "--seed", "0", *flags]) == 0
    return capsys.readouterr().out


def test_a_game_shows_the_question_the_page_and_the_gold_answer(monkeypatch, capsys):
    shown = _play(monkeypatch, capsys, "the capital\n= nobody\n", "--episodes", "1")
    assert "Question: " in shown and "<information>" in shown and "Gold: " in shown
    assert "1 played, mean reward 0.000." in shown


def test_the_same_seed_asks_the_same_questions(monkeypatch, capsys):
    games = [_play(monkeypatch, capsys, "\n\n\n", "--episodes", "3") for _ in range(2)]
    assert games[0] == games[1]
    assert len({line for line in games[0].splitlines() if line.startswith("Question")}) == 3


def test_the_end_of_input_ends_the_game(monkeypatch, capsys):
    shown = _play(monkeypatch, capsys, "= nobody\nthe capital")
    assert "Goodbye." in shown and "1 played" in shown


def test_the_turn_limit_is_reported(monkeypatch, capsys):
    shown = _play(monkeypatch, capsys, "x\n" * 6, "--episodes", "1", "--engine", "none")
    assert "That was the last turn." in shown
