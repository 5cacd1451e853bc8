"""The picture and the tables show runs of any length, and text that looks like markup."""

from io import StringIO
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread
from rich.console import Console

from agents.evaluation.progress import ProgressBar
from agents.llm.trainer.report import (
    before_after_table,
    draw_learning_curve,
    evaluation_summary,
    step_summary,
    structure_table,
    transcript_table,
)
from zs_env import Answer, Question, Search, Transcript
from zs_env.transcripts.transcript import Turn


def row(setting: str, f1: float, step: int = 0) -> dict:
    structures = {"chain1": {"f1": f1, "episodes": 3}}
    interval = {"f1_low": f1 - 0.1, "f1_high": f1 + 0.1}
    means = {"searches": 1.0, "answered": 0.5, "episodes": 6}
    return {
        "step": step, "setting": setting, "f1": f1, "structures": structures, **interval, **means
    }  # fmt: skip


def train_row(step: int, reward: float | None) -> dict:
    return {
        "step": step,
        "reward_mean": reward,
        "noise_probability": 0.1,
        "searches_mean": reward,
    }


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_picture_of_any_number_of_steps(tmp_path: Path, steps: int) -> None:
    evaluations = [row("noise 0", 0.2), row("noise 0", 0.6, steps), row("real engine", 0.5, steps)]
    path = tmp_path / "curve.png"
    # If all episodes of a step failed, there is no mean: null in the file.
    rows = [train_row(step + 1, None if step == 2 else 0.5) for step in range(steps)]
    draw_learning_curve(rows, evaluations, path, title="grpo")
    assert imread(path).shape[:2] == (720, 960)
    assert [found.name for found in tmp_path.iterdir()] == ["curve.png"]


@pytest.mark.parametrize(
    ("rewards", "low", "high"), [([0.5, 0.2], 0, 1), ([-1.5, 0.2], -1.5, 1), ([0.5, 3.0], 0, 3)]
)
def test_every_reward_is_inside_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewards: list[float], low: float, high: float
) -> None:
    limits = []
    monkeypatch.setattr(Axes, "set_ylim", lambda _, *ends: limits.append(ends))
    rows = [train_row(step, reward) for step, reward in enumerate(rewards)]
    draw_learning_curve(rows, [], tmp_path / "curve.png")
    assert limits == [(low, high)]


def printed(table: object) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_tables_put_before_beside_after() -> None:
    before, after = [row("noise 0", 0.25)], [row("noise 0", 0.75)]
    shown = printed(before_after_table(before, after, {"noise 0": 0.95}))
    for expected in ("0.250 [0.150, 0.350]", "0.750 [0.650, 0.850]", "0.950", "6 held-out"):
        assert expected in shown
    assert "chain1" in printed(structure_table(before, after))


def test_markup_in_a_transcript_is_shown_as_it_is() -> None:
    transcript = Transcript(
        question=Question(id="q", text="[red]Who?[/red]", answers=("[b]x",)),
        prompt="",
        turns=(Turn("", Search("[/nothing]")), Turn("", Answer("[b]x"))),
        reason="answer",
    )
    shown = printed(transcript_table([transcript]))
    for expected in ("[red]Who?[/red]", "search: [/nothing]", "[b]x"):
        assert expected in shown


def test_without_a_terminal_every_step_is_a_line() -> None:
    console = Console(file=StringIO(), width=200)
    with ProgressBar(console, "step", total=3, print_updates=True) as bar:
        bar.update(1, step_summary({"reward_mean": 0.5, "entropy": None}))
        bar.print(evaluation_summary(1, [row("noise 0", 0.25)]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "step 1/3  reward 0.500" in text
    assert "noise 0 0.250" in text
