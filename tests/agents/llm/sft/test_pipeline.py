"""A warm start has_signal the format, on questions it can name, into a folder of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agents.cli.main import main
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer.metrics import read_metrics
from zs_env.transcripts.storage import load_transcripts


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, make_worded_policy: Callable[[], Policy]
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_worded_policy().save(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of ten questions, each answered by a paragraph that the question names."""
    folder = tmp_path_factory.mktemp("questions")
    paths = []
    for letter in "ab":
        rows = []
        for i in range(10):
            thing = f"Thing {letter}{i}"
            gold = {"title": thing, "text": f"{thing} is in Lund.", "is_gold": True}
            other = {"title": "Town", "text": "A town is a place.", "is_gold": False}
            rows.append(
                {
                    "id": f"{letter}{i}",
                    "question": f"Where is {thing}?",
                    "answers": ["Lund"],
                    "paragraphs": [other, gold],
                }
            )
        paths.append(folder / f"{letter}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return paths


def _warm_start(model, files, output, *flags):
    return main(
        [
            *("warm-start", "--policy", str(model), "--questions", *map(str, files)),
            *("--output", str(output), "--threads", "1", "--held-out", "4", "--max-noise", "0"),
            *("--max-new-tokens", "400", "--learning-rate", "0.01", "--json", *flags),
        ]
    )


def test_it_lowers_the_loss_on_demonstrations_it_never_saw(model, files, tmp_path, capsys):
    assert _warm_start(model, files, tmp_path / "out", "--epochs", "16") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["demonstrations"] == 16
    assert result["loss_after"] < result["loss_before"] - 1
    # The policy keeps the prompt it learnt with, and what it learnt from lies beside it.
    policy = load_policy(result["policy"])
    assert policy.model.config.zerosearch_prompt == "bare"
    shown = load_transcripts(tmp_path / "out/demonstrations.jsonl")
    assert len({transcript.question.id for transcript in shown}) == 16
    assert all(transcript.prediction == "Lund" for transcript in shown)
    record = json.loads((tmp_path / "out/warm_start.json").read_text("utf-8"))
    assert record["result"] == result


def test_the_same_command_gives_the_same_weights(model, files, tmp_path):
    weights = []
    for name in ("one", "two"):
        assert _warm_start(model, files, tmp_path / name, "--episodes", "8") == 0
        weights.append(load_policy(tmp_path / name).model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_folder_that_holds_something_is_left_alone(model, files, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    assert _warm_start(model, files, tmp_path) == 2
    assert "choose another --output" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_steps_are_counted_and_recorded(model, files, tmp_path, capsys):
    assert _warm_start(model, files, tmp_path / "out", "--steps", "3") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == 3
    rows = read_metrics(tmp_path / "out", "warm_start")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_finished_one_is_left_as_it_is_and_one_with_other_settings_refused(
    model, files, tmp_path, capsys
):
    output = tmp_path / "out"
    for _ in range(2):
        assert _warm_start(model, files, output, "--steps", "1", "--resume") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second  # the seconds too: nothing was trained again
    assert _warm_start(model, files, output, "--steps", "2", "--resume") == 2
    assert "steps=2 (there it is 1)" in capsys.readouterr().err


def test_too_few_demonstrations_say_what_to_change(model, files, tmp_path, capsys):
    assert _warm_start(model, files, tmp_path / "out", "--held-out", "20") == 2
    assert "20 questions gave 20 demonstrations" in capsys.readouterr().err


def test_several_questions_are_files_that_become_one_set():
    config = WarmStartConfig(policy="p", questions=("a.jsonl", "b.parquet"), output=Path("o"))
    assert config.question_spec() == {"kind": "file", "path": ["a.jsonl", "b.parquet"]}
    mixed = WarmStartConfig(policy="p", questions=("a.jsonl", "hub"), output=Path("o"))
    with pytest.raises(ValueError, match="give files only"):
        mixed.question_spec()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("episodes", 0), ("held_out", 0), ("epochs", 0.0), ("steps", -1), ("max_noise", 1.5)),
        ("questions", ()),
    ],
)
def test_settings_out_of_range_are_named(setting, value):
    settings = {"policy": "p", "questions": ("a.jsonl",), "output": Path("o"), setting: value}
    with pytest.raises(ValueError, match=setting):
        WarmStartConfig(**settings)
