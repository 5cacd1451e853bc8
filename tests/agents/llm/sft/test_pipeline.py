"""The warm start: results, output folder, resume, adapters and several processes."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agents.cli.main import main
from agents.cli.training.warm_start import parse_arguments
from agents.llm.policy.lora import adapter_size
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.sft import pipeline
from agents.llm.sft.config import DemonstrationConfig, WarmStartConfig
from agents.llm.trainer.metrics import read_metrics
from tests.agents.llm.distributed.rank_processes import CHILDREN, on_ranks
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


@pytest.fixture(autouse=True)
def restore_torch():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def _arguments(model, files, output, *flags):
    return [
        *("--policy", str(model), "--questions", *map(str, files)),
        *("--output", str(output), "--threads", "1", "--held-out", "4", "--max-noise", "0"),
        *("--max-new-tokens", "400", "--learning-rate", "0.01", "--json", *flags),
    ]


def _warm_start(model, files, output, *flags):
    return main(["warm-start", *_arguments(model, files, output, *flags)])


def _weights(folder):
    return torch.cat([weight.flatten() for weight in load_policy(folder).model.parameters()])


def _losses(folder):
    return [row["loss"] for row in read_metrics(folder, "warm_start")]


def test_the_loss_on_held_out_demonstrations_falls(model, files, tmp_path, capsys):
    assert _warm_start(model, files, tmp_path / "out", "--epochs", "16") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["demonstrations"] == 16
    assert result["loss_after"] < result["loss_before"] - 1
    # The rules are saved with the policy, and the demonstrations lie beside it.
    policy = load_policy(result["policy"])
    assert policy.prompt == "bare" and policy.env_settings["num_documents"] == 3
    played = load_transcripts(tmp_path / "out/demonstrations.jsonl")
    assert len({transcript.question.id for transcript in played}) == 16
    assert all(transcript.prediction == "Lund" for transcript in played)
    assert json.loads((tmp_path / "out/result.json").read_text("utf-8")) == result
    settings = json.loads((tmp_path / "out/warm_start.json").read_text("utf-8"))
    assert (settings["held_out"], settings["policy"]) == (4, str(model))
    assert not (tmp_path / "out/checkpoints").exists()


def test_the_same_command_gives_the_same_weights(model, files, tmp_path):
    weights = []
    for name in ("one", "two"):
        assert _warm_start(model, files, tmp_path / name, "--episodes", "8") == 0
        weights.append(load_policy(tmp_path / name).model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_folder_with_other_files_is_refused(model, files, tmp_path, capsys):
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


def test_a_finished_warm_start_is_not_repeated_and_other_settings_are_refused(
    model, files, tmp_path, capsys
):
    output = tmp_path / "out"
    for _ in range(2):
        assert _warm_start(model, files, output, "--steps", "1", "--resume") == 0
        assert not (output / "checkpoints").exists()
        # As a process leaves them that was killed when it deleted them.
        (output / "checkpoints" / "step-000001").mkdir(parents=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second  # the seconds too: nothing was trained again
    assert _warm_start(model, files, output, "--steps", "2", "--resume") == 2
    assert "steps=2 (the run has 1)" in capsys.readouterr().err


# Four steps of about four demonstrations each, with a checkpoint after the second one.
_FOUR_STEPS = ("--steps", "4", "--tokens-per-batch", "1024", "--checkpoint-every", "2")


def _kill_after_step_3(arguments):
    def on_step(step, _loss):
        if step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    pipeline.warm_start(parse_arguments(arguments), on_step=on_step)


@pytest.mark.parametrize("adapter", [(), ("--lora-rank", "2")], ids=["whole", "lora"])
def test_a_killed_warm_start_is_continued_to_the_same_bits(model, files, tmp_path, adapter):
    flags = (*_FOUR_STEPS, *adapter)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _warm_start(model, files, whole, *flags) == 0
    process = CHILDREN.Process(
        target=_kill_after_step_3, args=(_arguments(model, files, killed, *flags),)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in (killed / "checkpoints").iterdir()] == ["step-000002"]
    assert _warm_start(model, files, killed, *flags) == 2  # without --resume
    assert _warm_start(model, files, killed, *flags, "--resume") == 0
    assert _losses(killed) == _losses(whole) and len(_losses(whole)) == 4
    assert torch.equal(_weights(killed), _weights(whole))
    if adapter:
        assert adapter_size(load_policy(whole).model) == (2, 32)


def test_changed_questions_are_refused_on_resume(model, files, tmp_path, monkeypatch, capsys):
    questions, output = tmp_path / "questions.jsonl", tmp_path / "out"
    questions.write_bytes(files[0].read_bytes())

    def fail(*_arguments):
        raise FloatingPointError("the last step failed")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_finish", fail)
        assert _warm_start(model, [questions], output, *_FOUR_STEPS) == 1
    questions.write_text(questions.read_text("utf-8").replace("Lund", "Oslo"), "utf-8")
    assert _warm_start(model, [questions], output, *_FOUR_STEPS, "--resume") == 2
    assert "not the data that the run began with" in " ".join(capsys.readouterr().err.split())


def _on_rank(distributed, arguments):
    return pipeline.warm_start(parse_arguments(arguments), distributed)


def test_two_processes_train_as_one(model, files, tmp_path):
    flags = (*_FOUR_STEPS, "--dtype", "float64", "--learning-rate", "0.001")
    one, two = tmp_path / "one", tmp_path / "two"
    assert _warm_start(model, files, one, *flags) == 0
    results = on_ranks(tmp_path, 2, _on_rank, _arguments(model, files, two, *flags))
    assert results[0].loss_after == results[1].loss_after
    assert results[0].loss_after == pytest.approx(
        json.loads((one / "result.json").read_text("utf-8"))["loss_after"], rel=1e-9
    )
    assert _losses(two) == pytest.approx(_losses(one), rel=1e-9)
    torch.testing.assert_close(_weights(two), _weights(one))
    # A finished one is not repeated by one process.
    assert _warm_start(model, files, two, *flags, "--resume") == 0


def test_too_few_demonstrations_say_what_to_change(model, files, tmp_path, capsys):
    assert _warm_start(model, files, tmp_path / "out", "--held-out", "20") == 2
    assert "20 questions gave 20 demonstrations" in capsys.readouterr().err


def test_several_question_files_become_one_dataset():
    config = DemonstrationConfig(questions=("a.jsonl", "b.parquet"))
    assert config.question_spec() == {"kind": "file", "path": ["a.jsonl", "b.parquet"]}
    with pytest.raises(ValueError, match="expected files only"):
        DemonstrationConfig(questions=("a.jsonl", "hub")).question_spec()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("episodes", 0), ("held_out", 0), ("epochs", 0.0), ("steps", -1), ("max_noise", 1.5)),
        ("questions", ()),
    ],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        WarmStartConfig.of(**{setting: value})
