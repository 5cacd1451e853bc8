"""Flags, files of flags, and what a run prints."""

import json
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import gymnasium
import pytest

from agents.cli.training.train import main, parse_arguments, summarize
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import (
    check_config,
    training_environment,
    training_questions,
)
from agents.llm.trainer.loop import TrainResult
from agents.storage.output_folder import folder_lock


@pytest.mark.usefixtures("in_empty_folder")
def test_no_flags_are_the_main_job() -> None:
    assert parse_arguments([]) == TrainConfig()


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'policy = "somewhere"\nsteps = 7\ntensorboard = false\neval_noise = [0.0, 0.4]\n'
        'questions = {kind = "world", seed = 3}\n'
    )
    for flags in (["--config", str(file)], [f"--config={file}"]):
        config = parse_arguments([*flags, "--steps", "9"])
        assert (config.model.policy, config.run.steps, config.run.tensorboard) == (
            "somewhere",
            9,
            False,
        )
        assert config.evaluation.eval_noise == (0.0, 0.4)
        assert config.environment.questions == '{"kind": "world", "seed": 3}'


def test_an_unknown_key_is_answered_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text("learning_rat = 1e-3\n")
    with pytest.raises(ValueError, match="learning_rate"):
        parse_arguments(["--config", str(file)])
    file.write_text("steps = = 3\n")
    with pytest.raises(ValueError, match=r"run\.toml is no valid TOML"):
        parse_arguments(["--config", str(file)])
    with pytest.raises(SystemExit):
        parse_arguments(["--config"])
    assert "--config: expected one argument" in capsys.readouterr().err


def test_a_value_of_another_type_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('steps = "many"\n')
    with pytest.raises(ValueError, match=r"steps in .*run\.toml is 'many'; expected int"):
        parse_arguments(["--config", str(file)])
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(["--steps", "many"])
    assert stopped.value.code == 2
    assert "--steps" in capsys.readouterr().err


def test_the_help_groups_the_flags_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    parts = ("questions and engine", "noise", "rollouts", "optimization")
    places = [text.index(f"{part} options") for part in (*parts, "generation", "evaluation", "run")]
    assert places == sorted(places)


def test_the_summary_takes_each_number_from_its_setting() -> None:
    def rows(*scores: float) -> list[dict]:
        names = ("noise 0", "noise 0.3", "noise 0.5", "real engine")
        return [{"setting": name, "f1": f1} for name, f1 in zip(names, scores, strict=True)]

    result = TrainResult(
        steps=9,
        train_seconds=1.5,
        checkpoint="here",
        before=rows(0.1, 0.2, 0.3, 0.4),
        after=rows(0.5, 0.6, 0.7, 0.8),
        oracle={"noise 0": 1.0, "noise 0.5": 0.9},
    )
    assert summarize(TrainConfig.of(noise_end=0.5), result) == {
        "f1_before": 0.1,
        "f1_after": 0.5,
        "f1_end_noise": 0.7,
        "oracle_end_noise": 0.9,
        "f1_real_engine": 0.8,
        "train_seconds": 1.5,
        "steps": 9,
        "checkpoint": "here",
    }


def test_what_a_run_does_not_know_is_null_not_nan() -> None:
    void = [{"setting": "noise 0", "f1": math.nan}]
    stopped = TrainResult(steps=0, train_seconds=0.0, checkpoint="here", before=void, stopped=True)
    summary = summarize(TrainConfig(), stopped)
    assert summary["f1_before"] is None
    assert summary["f1_after"] is None
    assert summary["oracle_end_noise"] is None


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(ValueError, match="another process writes"):
        main(["--output", str(tmp_path), "--resume"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--reward", "serch_r1"], "Did you mean 'search_r1'"),
        (["--reward", '{"terms": {"f2": 1}}'], "Did you mean 'f1'"),
        (["--reward", '{"terms": '], "not valid JSON"),
        (["--reward", "nowhere_at_all:reward"], "neither in this folder nor installed"),
        (["--env", "ZeroSerch-v0"], "ZeroSearch"),
        (["--env", "nowhere_at_all:Mine-v0"], "neither in this folder nor installed"),
        (["--questions", "wrold"], "Did you mean 'world'"),
        (["--eval-questions", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--engine", '{"kind": "cache", "engine": {"kind": "wrld"}}'], "Did you mean 'world'"),
        (["--engine", '{"kind": "world", "sed": 1}'], "Did you mean 'seed'"),
        (["--engine", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--real-engine", "bm26"], "Did you mean 'bm25'"),
        (["--prompt", "hello"], "expected one of"),
        (["--policy", "./nowhere"], "there is no folder"),
        (["--generator", "vlm"], "Did you mean 'vllm'"),
        (["--curriculum", "chain1", "chain9"], "chain9"),
    ],
)
def test_a_mistyped_value_is_reported_before_torch_is_imported(
    flags: list[str], hint: str, tmp_path: Path
) -> None:
    command = ["train", "--output", str(tmp_path / "run"), *flags]
    program = (
        "import sys; from agents.cli.main import main; "
        f"status = main({command!r}); sys.exit(status + 10 * ('torch' in sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert hint in finished.stderr and "Traceback" not in finished.stderr
    assert finished.returncode == 2
    assert not (tmp_path / "run").exists()


def test_the_environment_and_the_reward_of_a_module_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_training.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v0', 'zs_env.config:make_env', "
        "vector_entry_point='zs_env.config:make_vector_env', "
        "kwargs={'questions': {'kind': 'world', 'seed': 3}})\n"
        "def reward(transcript):\n    return {'turns': float(len(transcript.turns))}\n"
    )
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.toml"
    file.write_text('env = "my_training:Mine-v0"\nreward = {terms = {f1 = 1.0, searches = -0.1}}\n')
    config = parse_arguments(["--config", str(file)])
    check_config(config)
    assert training_questions(config.environment) == {"kind": "world", "seed": 3}
    with closing(training_environment(config, 1, None)) as env:  # type: ignore[arg-type]
        assert env.num_questions > 0
    monkeypatch.delitem(gymnasium.registry, "Mine-v0")
    monkeypatch.delitem(sys.modules, "my_training")
    check_config(parse_arguments(["--config", str(file), "--reward", "my_training:reward"]))


def test_a_second_run_has_a_folder_of_its_own_and_resume_finds_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def output(*flags: str) -> str:
        return str(parse_arguments([*flags]).run.output)

    def run(*flags: str) -> None:
        config = parse_arguments([*flags])
        config.run.output.mkdir(parents=True)
        (config.run.output / "config.json").write_text(json.dumps(config.to_json()))

    assert output() == output("--resume") == "runs/train"
    run("--resume")
    assert output("--resume") == "runs/train" and output("--output", "runs/train") == "runs/train"
    assert output() == output("--seed", "5") == "runs/train-2"
    run("--seed", "5")
    assert output() == "runs/train-3"
    # `make train` continues its own run, not the newest.
    assert output("--resume") == "runs/train"
    assert output("--resume", "--seed", "5", "--threads", "2", "--json") == "runs/train-2"
    # No run has these settings: the error names what differs from the newest.
    assert output("--resume", "--seed", "6") == "runs/train-2"
