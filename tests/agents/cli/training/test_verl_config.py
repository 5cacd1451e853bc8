"""`zerosearch verl-config` translates a recipe; `verl_contract.py` checks it with verl."""

import json
import os
import shlex

import pytest
import yaml

from agents.cli.main import main
from envs_registry.shared_environment import SharedEnvironment
from tests.envs_registry.documented import commands

POLICY = ("--policy", "Qwen/Qwen2.5-7B-Instruct")
SHORT = (*POLICY, "--steps", "2", "--eval-episodes", "3")


@pytest.fixture
def write(tmp_path):
    """Writes a configuration; returns verl's and that of the agent loop."""

    def run(*flags):
        output = tmp_path / "config"
        assert main(["verl-config", *SHORT, *flags, "--output", str(output)]) == 0
        files = [output / name for name in ("search.yaml", "agent_loop.yaml")]
        search, loops = (yaml.safe_load(file.read_text()) for file in files)
        return search, loops[0]

    return run


def test_the_values_of_the_authors_become_those_of_verl(write, tmp_path):
    search, loop = write("--recipe", "zerosearch", "--algorithm", "grpo")
    actor, rollout = search["actor_rollout_ref"]["actor"], search["actor_rollout_ref"]["rollout"]
    assert search["data"]["train_batch_size"] == 64
    assert actor["ppo_mini_batch_size"] == 32  # two minibatches of a step
    assert rollout["n"] == 5
    assert search["algorithm"]["adv_estimator"] == "grpo"
    assert (actor["use_kl_loss"], actor["kl_loss_coef"]) == (True, 0.001)
    assert actor["kl_loss_type"] == "low_var_kl"
    assert not search["algorithm"]["use_kl_in_reward"]
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"]) == (0.2, 0.2)
    assert actor["optim"]["lr"] == 1e-6
    assert actor["optim"]["lr_warmup_steps"] == 192
    assert actor["entropy_coeff"] == 0.001
    # 6 turns of 500 tokens, and 5 pages of 5 documents of 2048 characters at 3 a token.
    assert search["data"]["max_response_length"] == 6 * 500 + 5 * (5 * 2048 // 3)
    assert (search["trainer"]["nnodes"], search["trainer"]["n_gpus_per_node"]) == (1, 8)
    assert "critic" not in search
    assert loop["max_new_tokens"] == 500
    train, heldout = loop["environments"]["train"], loop["environments"]["heldout"]
    assert (train["max_turns"], train["num_documents"], train["reward"]) == (6, 5, "zerosearch")
    assert (train["noise"]["start"], train["noise"]["end"]) == (0.0, 0.5)
    assert heldout["noise"] == 0.0
    rows = {
        name: [json.loads(line) for line in (tmp_path / "config" / name).read_text().splitlines()]
        for name in ("train.jsonl", "heldout.jsonl")
    }
    for name, spec in loop["environments"].items():
        row = rows[f"{name}.jsonl"][1]
        assert row["data_source"] == name
        options = {"question_index": row["extra_info"]["index"], "training_step": 0}
        _, info = SharedEnvironment(spec).make().reset(options=options)
        assert info["question_id"] == row["extra_info"]["question_id"]
    assert len(rows["train.jsonl"]) == 128  # two steps of 64 endless questions
    assert len(rows["heldout.jsonl"]) == 3
    assert {row["extra_info"]["noise_probability"] for row in rows["heldout.jsonl"]} == {0.0}


def test_ppo_has_a_critic_and_its_kl_in_the_reward(write):
    search, _ = write("--recipe", "search-r1")
    assert search["algorithm"]["adv_estimator"] == "gae"
    assert search["algorithm"]["use_kl_in_reward"]
    assert search["algorithm"]["kl_penalty"] == "kl"
    assert not search["actor_rollout_ref"]["actor"]["use_kl_loss"]
    assert search["critic"]["optim"]["lr"] == 1e-5
    assert search["critic"]["cliprange_value"] == 0.2


@pytest.mark.parametrize(
    ("policy", "gpus", "offload", "tensor_parallel"),
    [("3B", 8, False, 1), ("7B", 8, False, 1), ("14B", 8, True, 2), ("14B", 16, False, 2)],
)
def test_large_policies_are_offloaded_and_split(write, policy, gpus, offload, tensor_parallel):
    search, _ = write(
        *("--recipe", "research", "--gpus", str(gpus)),
        *("--policy", f"Qwen/Qwen2.5-{policy}-Instruct"),
    )
    policy = search["actor_rollout_ref"]
    assert policy["actor"]["fsdp_config"]["param_offload"] is offload
    assert policy["rollout"]["tensor_model_parallel_size"] == tensor_parallel
    assert search["trainer"]["nnodes"] == gpus // 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--recipe", "zerosearch"), "no counterpart of --algorithm reinforce; choose one of grpo"),
        (("--recipe", "searchgym"), "no counterpart of --curriculum"),
        (("--recipe", "ssrl"), "lets the policy generate the pages"),
        (("--recipe", "sft"), "has 0 `train` stages"),
        (("--recipe", "r1-searcher", "--stage", "3"), "has 2 `train` stages"),
        (("--recipe", "research", "--gpus", "12"), "a multiple of 8"),
        (("--recipe", "research", "--group-size", "3", "--questions-per-step", "3"), "8 GPUs"),
        (("--recipe", "research", "--policy", "runs/warm"), "--billions"),
        (("--recipe", "research", "--turn-format", "chat"), "no counterpart of --turn-format"),
        ((), "needs --recipe and --policy"),
    ],
)
def test_what_verl_cannot_do_is_an_error(flags, message, tmp_path, capsys):
    output = tmp_path / "config"
    assert main(["verl-config", *POLICY, *flags, "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_an_existing_folder_is_not_overwritten(tmp_path, capsys):
    flags = ["--recipe", "research", *POLICY, "--output", str(tmp_path)]
    assert main(["verl-config", *flags]) == 2
    assert "exists" in capsys.readouterr().err


def test_the_documented_commands_write_and_name_a_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    of_readme, (program, *words), start = commands("verl")
    assert of_readme == [program, *words]
    assert program == "zerosearch"
    assert main([*words, "--steps", "1", "--eval-episodes", "2"]) == 0
    printed = capsys.readouterr().err.splitlines()[-1]
    assert [os.path.expandvars(word) for word in start] == shlex.split(printed)
