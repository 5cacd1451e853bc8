"""Stages run one after the other, each from the last one's policy, and none twice."""

import json

import pytest
import torch

from agents.cli.main import main
from agents.cli.training import train as train_command
from agents.cli.training.recipes import stage_configs
from agents.llm.recipes.recipe import load_recipe
from agents.llm.trainer.loop import TrainResult
from agents.llm.trainer.run_folder import finished_training
from agents.storage.config_file import with_settings
from tests.agents.llm.distributed.rank_processes import start_ranks

RECIPE = """
paper = "ours"
about = "three stages"
[settings]
threads = 1
max_turns = 2
num_documents = 2
[[stages]]
kind = "warm-start"
questions = ["world"]
policy = "{policy}"
episodes = 12
held_out = 4
steps = 2
max_new_tokens = 400
[[stages]]
kind = "train"
reward = "r1_searcher_stage1"
steps = 1
questions_per_step = 2
group_size = 2
max_new_tokens = 12
final_episodes = 2
eval_noise = [0]
tensorboard = false
real_engine = "world"
[[stages]]
kind = "train"
steps = 2
questions_per_step = 2
group_size = 2
max_new_tokens = 12
final_episodes = 2
eval_noise = [0]
tensorboard = false
real_engine = "world"
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, make_worded_policy):
    folder = tmp_path_factory.mktemp("recipe")
    make_worded_policy().save(folder / "policy")
    (folder / "mine.toml").write_text(RECIPE.format(policy=folder / "policy"), "utf-8")
    return str(folder / "mine.toml")


@pytest.fixture(autouse=True)
def as_torch_was():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """A finished run's folder."""
    output = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "--recipe", recipe, "--output", str(output)]) == 0
    return output


def read(path):
    return json.loads(path.read_text("utf-8"))


def test_each_stage_goes_on_from_the_last_one_s_policy(finished):
    assert sorted(path.name for path in finished.iterdir()) == ["stage-1", "stage-2", "stage-3"]
    second, third = (read(finished / f"stage-{n}" / "config.json") for n in (2, 3))
    assert second["policy"] == str(finished / "stage-1")
    assert third["policy"] == str(finished / "stage-2" / "checkpoints" / "step-000001")
    assert second["reward"] == "r1_searcher_stage1" and third["reward"] is None


def test_a_finished_stage_is_not_repeated_and_json_is_one_object(recipe, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("stage-[12]/**/*")}
    weights = finished / "stage-3" / "checkpoints" / "step-000002" / "model.safetensors"
    kept = weights.read_bytes()
    (finished / "stage-3" / "result.json").unlink()
    flags = ["train", "--recipe", recipe, "--output", str(finished), "--resume", "--json"]
    assert main(flags) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("stage-[12]/**/*")} == before
    assert weights.read_bytes() == kept
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["steps"] == 2


def test_a_run_is_not_written_over(recipe, finished, capsys):
    assert main(["train", "--recipe", recipe, "--output", str(finished)]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "output"),
    [(["--episodes", "11"], "episodes=11"), (["--group-size", "3"], "group_size=3")],
)
def test_a_finished_stage_with_other_settings_is_refused(recipe, finished, flags, output, capsys):
    assert main(["train", "--recipe", recipe, "--output", str(finished), "--resume", *flags]) == 2
    assert output in capsys.readouterr().err


def test_a_stage_is_finished_where_it_has_all_its_steps_and_is_to_be_resumed(recipe, finished):
    flags = ["--output", str(finished), "--resume"]
    config = stage_configs(load_recipe(recipe), flags)[1]
    config = with_settings(config, {"policy": str(finished / "stage-1")})
    checkpoint = finished / "stage-2" / "checkpoints" / "step-000001"
    assert finished_training(config) == str(checkpoint)
    assert finished_training(with_settings(config, {"resume": False})) is None


@pytest.mark.parametrize(("ending", "status"), [("stopped", 0), ("failed", 1)])
def test_nothing_follows_a_stage_that_was_stopped_or_failed(
    recipe, ending, status, tmp_path, monkeypatch
):
    tried = []

    def train(config):
        tried.append(config.run.output.name)
        if ending == "failed":
            return None
        return TrainResult(steps=1, train_seconds=0.0, checkpoint="c", stopped=True)

    monkeypatch.setattr(train_command, "run_training", train)
    assert main(["train", "--recipe", recipe, "--output", str(tmp_path / "run")]) == status
    assert tried == ["stage-2"]


def test_two_processes_run_a_warm_start_and_then_train(recipe, tmp_path):
    run_recipe = ("train", "--recipe", recipe, "--output", str(tmp_path / "run"))
    processes = start_ranks(2, main, run_recipe)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    warm, second = tmp_path / "run" / "stage-1", read(tmp_path / "run/stage-2/config.json")
    assert second["policy"] == str(warm)
    assert read(warm / "result.json")["steps"] == 2
    assert read(tmp_path / "run" / "stage-3" / "result.json")["steps"] == 2
