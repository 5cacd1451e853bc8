"""Training, saving, going on, and playing what was trained."""

import json

import pytest

pytest.importorskip("stable_baselines3")

import numpy as np
import torch

from agents.agent_registry import build_agent, fingerprint
from agents.cli.main import main
from agents.evaluation import evaluate
from agents.sb3.algorithms import ALGORITHMS
from agents.sb3.offer_agent import OfferAgent
from agents.sb3.train_config import TrainSB3Config
from agents.sb3.training import train
from agents.storage.folder_lock import folder_lock
from tests.agents.sb3.pages import PROMPT, page


def _config(tmp_path, **settings):
    small = {"num_envs": 2, "steps": 256, "checkpoint_every": 128, "eval_episodes": 0}
    return TrainSB3Config(**{**small, "output": tmp_path / "run", **settings})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_folder_plays_as_the_agent_that_was_trained_there(algorithm, tmp_path):
    trained = train(_config(tmp_path, algorithm=algorithm))
    loaded = build_agent(str(tmp_path / "run"))
    assert isinstance(loaded, OfferAgent)
    assert fingerprint(loaded) == trained.agent.fingerprint
    for tensor in loaded._model.policy.state_dict().values():
        assert torch.isfinite(tensor).all()
    report = evaluate(loaded, episodes=4, noise=0.5, concurrency=2)
    assert report.metrics["malformed"].mean == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_the_same_seed_trains_the_same_weights(tmp_path):
    one, other, third = (
        train(_config(tmp_path / name, seed=seed)).agent.fingerprint
        for name, seed in (("one", 3), ("other", 3), ("third", 4))
    )
    assert one == other != third


def test_a_run_goes_on_where_it_stopped(tmp_path):
    config = _config(tmp_path, steps=512)
    whole = train(config)
    assert whole.steps == 512
    with pytest.raises(FileExistsError, match="--resume"):
        train(config)
    again = train(_config(tmp_path, steps=512, resume=True))
    assert again.steps == 512
    assert again.agent.fingerprint == whole.agent.fingerprint


def test_an_interrupted_run_resumes_from_its_checkpoint(tmp_path):
    class Interrupted(Exception):
        pass

    seen = []

    def interrupt(steps, reward):
        seen.append(steps)
        if steps >= 768:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(_config(tmp_path, steps=1024, num_envs=2), on_progress=interrupt)
    resumed = []
    result = train(
        _config(tmp_path, steps=1024, num_envs=2, resume=True),
        on_progress=lambda steps, reward: resumed.append(steps),
    )
    assert seen == [256, 512, 768]
    assert resumed == [768, 1024]
    assert result.steps == 1024


def test_several_episodes_are_played_as_each_alone(tmp_path):
    agent = train(_config(tmp_path)).agent
    question = "Who is the mayor of Tal Vey?"
    transcripts = [PROMPT, PROMPT + page(question, "The mayor of Tal Vey is Bo Ray.")]
    seen = [{"question": question, "transcript": text} for text in transcripts]
    assert agent.act_batch(seen) == [agent.act(one) for one in seen]


def test_the_command_reports_what_the_held_out_questions_gave(tmp_path, capsys):
    arguments = ["--num-envs", "2", "--steps", "256", "--eval-episodes", "4", "--json"]
    arguments += ["--eval-noise", "0.5", "--output", str(tmp_path / "run")]
    assert main(["train-sb3", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["agent"] for row in result["evaluation"]] == ["ppo", "search-once", "random"]
    assert all(row["episodes"] == 4 for row in result["evaluation"])
    assert all(np.isfinite(row["f1"]["mean"]) for row in result["evaluation"])
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result


def test_two_processes_do_not_train_in_one_folder(tmp_path, capsys):
    with folder_lock(tmp_path / "run"):
        assert main(["train-sb3", "--steps", "256", "--output", str(tmp_path / "run")]) == 2
    assert "another process writes" in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_without_a_checkpoint_says_what_to_do(tmp_path):
    config = _config(tmp_path)
    config.output.mkdir()
    (config.output / "sb3.json").write_text(json.dumps(config.to_json()))
    with pytest.raises(ValueError, match="--resume"):
        build_agent(str(config.output))
    with pytest.raises(ValueError, match=r"holds no sb3\.json"):
        OfferAgent.load(tmp_path)
