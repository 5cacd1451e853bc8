"""Training, saving, going on, and playing what was trained."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("stable_baselines3")

import numpy as np
import torch

from agents.agent_registry import build_agent, fingerprint
from agents.cli.main import main
from agents.evaluation import evaluate
from agents.sb3.train_config import TrainSB3Config
from agents.sb3.training import ALGORITHMS, ChoiceAgent, train
from agents.storage.output_folder import folder_lock
from tests.agents.sb3.pages import PROMPT, page


def _agent(config):
    return ChoiceAgent(train(config), config.limits)


def _config(tmp_path, **settings):
    small = {"num_envs": 2, "steps": 256, "checkpoint_every": 128, "eval_episodes": 0}
    return TrainSB3Config(**{**small, "output": tmp_path / "run", **settings})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_folder_plays_as_the_agent_that_was_trained_there(algorithm, tmp_path):
    trained = _agent(_config(tmp_path, algorithm=algorithm))
    loaded = build_agent(str(tmp_path / "run"))
    assert isinstance(loaded, ChoiceAgent)
    assert fingerprint(loaded) == trained.fingerprint
    for tensor in loaded._model.policy.state_dict().values():
        assert torch.isfinite(tensor).all()
    report = evaluate(loaded, episodes=4, noise=0.5, concurrency=2)
    assert report.metrics["malformed"].mean == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_the_same_seed_trains_the_same_weights(tmp_path):
    one, other, third = (
        _agent(_config(tmp_path / name, seed=seed)).fingerprint
        for name, seed in (("one", 3), ("other", 3), ("third", 4))
    )
    assert one == other != third


def test_a_run_goes_on_where_it_stopped(tmp_path):
    config = _config(tmp_path, steps=512)
    whole = train(config)
    assert whole.num_timesteps == 512
    with pytest.raises(FileExistsError, match="--resume"):
        train(config)
    again = train(replace(config, resume=True))
    assert again.num_timesteps == 512
    assert ChoiceAgent(again, config.limits).fingerprint == fingerprint(
        build_agent(str(config.output))
    )
    with pytest.raises(ValueError, match=r"noise was 0.5, now 0.25"):
        train(replace(config, resume=True, noise=0.25))


def test_an_interrupted_run_resumes_from_its_checkpoint(tmp_path):
    class Interrupted(Exception):
        pass

    seen = []

    def interrupt(steps, reward):
        seen.append(steps)
        if steps >= 768:
            raise Interrupted

    config = _config(tmp_path, steps=1024, num_envs=2)
    with pytest.raises(Interrupted):
        train(config, on_step=interrupt)
    resumed = []
    model = train(replace(config, resume=True), on_step=lambda steps, reward: resumed.append(steps))
    assert (seen[0], seen[-1]) == (2, 768)
    # The checkpoint of step 768 was the last.
    assert (resumed[0], resumed[-1]) == (770, 1024)
    assert model.num_timesteps == 1024


def test_several_episodes_are_played_as_each_alone(tmp_path):
    agent = _agent(_config(tmp_path))
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


def test_noise_that_the_engine_cannot_produce_is_reported_before_the_training(tmp_path, capsys):
    arguments = ["--engine", '{"kind": "bm25"}', "--noise", "0", "--output", str(tmp_path / "run")]
    assert main(["train-sb3", *arguments, "--eval-noise", "0", "0.25"]) == 2
    assert "got noise=0.25, but the engine 'bm25'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_train_in_one_folder(tmp_path, capsys):
    with folder_lock(tmp_path / "run"):
        assert main(["train-sb3", "--steps", "256", "--output", str(tmp_path / "run")]) == 2
    assert "another process writes" in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_without_a_checkpoint_says_what_to_do(tmp_path):
    config = _config(tmp_path)
    config.output.mkdir()
    (config.output / "sb3.json").write_text(json.dumps(config.fixed_settings()))
    with pytest.raises(ValueError, match="--resume"):
        build_agent(str(config.output))
    with pytest.raises(ValueError, match=r"holds no sb3\.json"):
        ChoiceAgent.load(tmp_path)
