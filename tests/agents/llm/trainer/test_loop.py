"""The trainer's promises: the same bits after a kill, one run a folder, an orderly end."""

import gc
import json
import os
import random
import re
import shutil
import signal
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from agents.cli.training.train import main, parse_arguments
from agents.llm.generators.base import GenerationError
from agents.llm.generators.scripted import ScriptedGenerator
from agents.llm.learner.batch import Batch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.metrics import UpdateReport
from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Group, Rollout
from agents.llm.sft.demonstrations import encode_demonstration
from agents.llm.sft.supervised import SUPERVISED, plan_steps, train_steps
from agents.llm.sft.world_teacher import TeacherErrors, WorldTeacher
from agents.llm.trainer import loop
from agents.llm.trainer import run as run_module
from agents.llm.trainer.metrics import read_metrics
from agents.llm.trainer.run_folder import CheckpointStore, load_state
from agents.llm.trainer.setup import learning_rate_warning
from tests.agents.llm.distributed.rank_processes import (
    CHILDREN,
    be_torchrun,
    run_command,
    start_ranks,
)
from zs_env.config.engines import ENGINE_KINDS
from zs_env.episode import EpisodeConfig
from zs_env.prompts import PROMPTS
from zs_env.search.types import SearchError, SearchPage, SearchRequest
from zs_env.world import World, WorldEngine, WorldQuestions

STEPS = 4
# In float64, another order of a sum changes no sampled token: runs on any number of processes can
# be compared, on any processor.
FLAGS = (
    *("--dtype", "float64"),
    *("--prompt", "bare", "--steps", str(STEPS), "--questions-per-step", "3", "--group-size", "4"),
    *("--num-documents", "2", "--max-turns", "3", "--max-new-tokens", "16", "--threads", "1"),
    *(
        "--reward",
        "r1_searcher_stage1",
        "--learning-rate",
        "0.01",
        "--eval-every",
        "2",
        "--eval-episodes",
        "4",
    ),
    *(
        "--curriculum",
        "chain1",
        "chain2",
        "--final-episodes",
        "6",
        "--eval-noise",
        "0",
        "--real-engine",
        "world",
        "--checkpoint-every",
        "1",
        "--no-tensorboard",
    ),
)


@pytest.fixture(scope="module")
def policy(
    tmp_path_factory: pytest.TempPathFactory, make_worded_policy: Callable[[], Policy]
) -> Path:
    """A policy of a few thousand weights that has seen the format: some rewards differ."""
    policy = make_worded_policy()
    policy.model.double()
    world, rng = World(7), random.Random(0)
    questions, engine = WorldQuestions(world, ["chain1"]), WorldEngine(world)
    config = EpisodeConfig(prompt=PROMPTS["bare"], num_documents=2)
    shown = [
        encode_demonstration(
            policy,
            WorldTeacher(questions[index], TeacherErrors(), rng).play(
                engine, config=config, noise_probability=0.0
            ),
        )
        for index in range(200)
    ]
    optimizer = OptimizerConfig(learning_rate=1e-2, warmup_steps=5, lr_schedule="cosine")
    learner = Learner(policy.model, algorithm=SUPERVISED, optimizer=optimizer, total_updates=80)
    train_steps(learner, shown, plan_steps(shown, tokens_per_step=2048, num_steps=80))
    folder = tmp_path_factory.mktemp("policy")
    policy.save(folder)
    return folder


def arguments(policy: Path, output: Path, *flags: str) -> list[str]:
    return ["--policy", str(policy), *FLAGS, "--output", str(output), *flags]


def start(policy: Path, output: Path, *flags: str) -> BaseProcess:
    process = CHILDREN.Process(target=main, args=(arguments(policy, output, *flags),))
    process.start()
    return process


def run(policy: Path, output: Path, *flags: str) -> None:
    process = start(policy, output, *flags)
    process.join()
    assert process.exitcode == 0


def weights(output: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    return load_file(output / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run from its first step to its last, in a process of its own, and what it printed."""
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    done = run_command("train", *arguments(policy, output, "--json"))
    assert done.returncode == 0, done.stderr
    return output, json.loads(done.stdout.splitlines()[-1])


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_learns_something_from_rewards_that_differ(
    policy: Path, undisturbed: tuple[Path, Any]
) -> None:
    output, _ = undisturbed
    rows = read_metrics(output, "train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert any(row["reward_std"] > 0 for row in rows)
    assert all(row["token_mismatch"] == 0 for row in rows)
    assert not same_bits(weights(output), load_file(policy / "model.safetensors"))


def test_the_last_line_is_one_json_object(undisturbed: tuple[Path, Any]) -> None:
    output, printed = undisturbed
    assert set(printed) == {
        *("f1_before", "f1_after", "f1_end_noise", "oracle_end_noise", "f1_real_engine"),
        *("train_seconds", "steps", "checkpoint"),
    }
    assert printed["steps"] == STEPS
    assert Path(printed["checkpoint"]) == output / "checkpoints" / f"step-{STEPS:06d}"
    assert printed["oracle_end_noise"] > 0.3
    assert (output / "learning_curve.png").stat().st_size > 1000
    assert len((output / "samples.jsonl").read_text().splitlines()) == 6


def test_every_setting_is_examined_before_in_between_and_after(
    undisturbed: tuple[Path, Any],
) -> None:
    rows = read_metrics(undisturbed[0], "evaluation")
    settings = ["noise 0", "noise 0.5", "real engine"]
    assert [(row["step"], row["setting"]) for row in rows] == [
        (step, setting) for step in (0, 2, 4) for setting in settings
    ]
    assert [row["episodes"] for row in rows] == [6] * 3 + [4] * 3 + [6] * 3


def wait_for(sign: Path, process: BaseProcess) -> None:
    deadline = time.monotonic() + 120
    while not (sign.exists() and (sign.is_dir() or sign.stat().st_size)):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(
    "sign", ["metrics.jsonl", "checkpoints/step-000001", "checkpoints/.writing-step-000003"]
)
def test_a_killed_run_resumes_to_the_same_bits(
    policy: Path, undisturbed: tuple[Path, Any], tmp_path: Path, sign: str
) -> None:
    output = tmp_path / "run"
    process = start(policy, output)
    wait_for(output / sign, process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    run(policy, output, "--resume")
    assert same_bits(weights(output), weights(undisturbed[0]))
    assert [row["step"] for row in read_metrics(output, "train")] == [1, 2, 3, 4]
    assert read_metrics(output, "evaluation") == read_metrics(undisturbed[0], "evaluation")


def test_sigterm_saves_and_ends_in_good_order(
    policy: Path, undisturbed: tuple[Path, Any], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    # No checkpoint is due before the end: the one found is the one that the signal caused.
    process = start(policy, output, "--checkpoint-every", "100", "--eval-every", "0")
    wait_for(output / "metrics.jsonl", process)  # its first rows are those of the first examination
    process.terminate()
    process.join()
    assert process.exitcode == 0
    checkpoint = CheckpointStore(output / "checkpoints").latest()
    assert checkpoint is not None
    assert load_state(checkpoint)["run"]["step"] < STEPS
    assert not (output / "result.json").exists()
    run(policy, output, "--resume", "--eval-every", "0")
    assert same_bits(weights(output), weights(undisturbed[0]))


def test_a_folder_that_holds_a_run_is_left_alone(
    policy: Path, undisturbed: tuple[Path, Any]
) -> None:
    with pytest.raises(FileExistsError, match="already holds a run; continue it with --resume"):
        main(arguments(policy, undisturbed[0]))


def test_evaluating_more_often_changes_no_weight(
    policy: Path, undisturbed: tuple[Path, Any], tmp_path: Path
) -> None:
    run(policy, tmp_path / "run", "--eval-every", "1", "--eval-noise", "0.3", "--steps", str(STEPS))
    assert same_bits(weights(tmp_path / "run"), weights(undisturbed[0]))


def test_a_checkpoint_is_a_policy_with_everything_beside_it(undisturbed: tuple[Path, Any]) -> None:
    checkpoint = Path(undisturbed[1]["checkpoint"])
    state = load_state(checkpoint)
    assert state["run"]["step"] == STEPS
    assert state["run"]["cursor"] > 3 * STEPS  # the curriculum passes questions over
    assert state["learner"]["updates"] == STEPS
    assert {"python", "numpy", "torch", "cuda"} <= set(state["run"]["random"])
    assert (checkpoint / "tokenizer.json").exists()


class BrokenLearner:
    """Reports a loss that is not finite, except in its second update."""

    def __init__(self, policy: torch.nn.Module) -> None:
        self.policy = policy
        self.updates = 0

    def update(self, groups: list[Group]) -> UpdateReport:
        self.updates += 1
        if self.updates == 2:
            return UpdateReport(metrics={"loss": 1.0})
        return UpdateReport(
            metrics={"loss": float("nan")},
            reason="loss is nan",
            batch=Batch.from_groups(groups),
        )

    def state_dict(self) -> dict[str, int]:
        return {"updates": self.updates}


def test_three_steps_in_a_row_that_are_not_finite_stop_the_run(
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    torch_settings: None,
) -> None:
    output = tmp_path / "run"
    monkeypatch.setattr(
        "agents.llm.trainer.run.make_learner", lambda _config, model, _: BrokenLearner(model)
    )
    flags = ("--eval-every", "0", "--steps", "9", "--checkpoint-every", "4")
    assert main(arguments(policy, output, *flags)) == 1
    # The second step resets the count; the third, fourth and fifth reach the limit.
    assert [row["step"] for row in read_metrics(output, "train")] == [1, 2, 3, 4, 5]
    dumps = sorted(path.name for path in (output / "bad_batches").iterdir())
    assert dumps == [f"step-{step:06d}.pt" for step in (1, 3, 4, 5)]
    rollouts = torch.load(output / "bad_batches" / dumps[0], weights_only=True)
    assert len(rollouts) == 12
    assert rollouts[0]["text"].startswith("Question:")
    printed = " ".join(capfd.readouterr().err.split())
    for part in ("3 steps in a row", "loss is nan", "step-000004", "learning_rate"):
        assert part in printed


def test_a_step_in_which_every_context_is_full_stops_the_run(
    make_rollout: Callable[..., Rollout],
) -> None:
    run: Any = SimpleNamespace(
        state=SimpleNamespace(step=4), generator=SimpleNamespace(max_context=512)
    )
    full = replace(make_rollout(2, 1), context_full=True)
    failed = make_rollout(2, 1, failure="engine down")
    loop._check_context(run, [Group(rollouts=(full, make_rollout(2, 1)))])
    loop._check_context(run, [Group(rollouts=(failed,))])
    with pytest.raises(GenerationError, match=r"step 5: all 2 episodes .* 512 tokens.*max_turns"):
        loop._check_context(run, [Group(rollouts=(full, failed)), Group(rollouts=(full,))])


def test_diverged_weights_are_explained(
    policy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], torch_settings: None
) -> None:
    flags = ("--eval-every", "0", "--learning-rate", "1e300", "--warmup-steps", "0")
    assert main(arguments(policy, tmp_path / "run", *flags)) == 1
    assert "lower the learning rate" in " ".join(capfd.readouterr().err.split())


class Mortal:
    """The world's engine until it dies."""

    supports_noise = in_process = alive = True

    def __init__(self, questions: WorldQuestions) -> None:
        self._engine = WorldEngine(questions.world)

    def search(self, requests: Sequence[SearchRequest]) -> Sequence[SearchPage]:
        if not Mortal.alive:
            raise SearchError("connection refused")
        return self._engine.search(requests)


def test_a_failing_engine_stops_the_run_which_can_be_resumed(
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    torch_settings: None,
) -> None:
    monkeypatch.setitem(ENGINE_KINDS, "mortal", Mortal)
    monkeypatch.setattr(Mortal, "alive", False)
    output = tmp_path / "run"

    def make_searcher(policy: Policy, *_: object, **settings: object) -> ScriptedGenerator:
        return ScriptedGenerator(policy, lambda text: "<search>x</search>")

    flags = ("--engine", "mortal", "--eval-engine", "world", "--eval-every", "0", "--steps", "6")
    with monkeypatch.context() as searching:
        # Every episode searches, so every episode fails.
        searching.setattr("agents.llm.trainer.run.make_generator", make_searcher)
        assert main(arguments(policy, output, *flags)) == 1
    printed = " ".join(capfd.readouterr().err.split())
    for part in ("step 3: a failure ended", "connection refused", "3 steps in a row"):
        assert part in printed
    assert CheckpointStore(output / "checkpoints").steps()[-1] == 2
    monkeypatch.setattr(Mortal, "alive", True)
    assert main([*arguments(policy, output, *flags), "--resume"]) == 0
    rows = read_metrics(output, "train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[1]["failed_episodes"] == 12 and rows[2]["failed_episodes"] == 0


def test_groups_without_a_spread_are_refilled_by_other_questions(
    policy: Path, tmp_path: Path, undisturbed: tuple[Path, Any], torch_settings: None
) -> None:
    flags = ("--algorithm", "dapo", "--max-refills", "6", "--eval-every", "0")
    assert main(arguments(policy, tmp_path / "run", *flags)) == 0
    rows = read_metrics(tmp_path / "run", "train")
    assert any(row["episodes"] > 12 for row in rows)  # three groups of four, and others
    for row in rows:
        # What is learnt from has no group without a spread, and three groups unless all was tried.
        assert row["zero_variance_groups"] == 0
        assert row["rollouts"] <= 12 <= row["episodes"] <= 84
        assert row["rollouts"] == 12 or row["episodes"] > 12


class _Watched(dict[str, Any]):
    """A dictionary with weak references."""


def test_a_resumed_run_releases_the_loaded_state_of_the_optimizer(
    undisturbed: tuple[Path, Any],
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torch_settings: None,
) -> None:
    shutil.copytree(undisturbed[0], tmp_path / "run")
    loaded: list[weakref.ref[Any]] = []

    def load(checkpoint: Path) -> dict[str, Any]:
        state = _Watched(load_state(checkpoint))
        loaded.append(weakref.ref(state))
        return state

    monkeypatch.setattr(run_module, "load_state", load)
    config = parse_arguments(arguments(policy, tmp_path / "run", "--resume"))
    with run_module.open_run(config) as opened:
        assert opened.state.step == STEPS
        gc.collect()
        assert len(loaded) == 1 and loaded[0]() is None


def test_a_run_without_differing_rewards_warns_and_names_the_cure(
    tmp_path: Path,
    make_worded_policy: Callable[[], Policy],
    capfd: pytest.CaptureFixture[str],
    torch_settings: None,
) -> None:
    make_worded_policy().save(tmp_path / "policy")  # never closes a tag, so every reward is 0
    flags = ("--eval-every", "0", "--final-episodes", "2", "--dtype", "float32")
    assert main(arguments(tmp_path / "policy", tmp_path / "run", *flags)) == 0
    printed = " ".join(capfd.readouterr().err.split())
    rows = read_metrics(tmp_path / "run", "train")
    assert {row["reward_std"] for row in rows} == {0.0}
    assert re.findall(r"in the last (\d) steps the rewards of every group were equal", printed) == [
        "3",
        str(STEPS),
    ]
    for cure in ("zerosearch warm-start", "--group-size", "easier questions"):
        assert cure in printed
    short = ("--steps", "2", "--eval-every", "0", "--final-episodes", "2", "--dtype", "float32")
    assert main(arguments(tmp_path / "policy", tmp_path / "short", *short)) == 0
    assert "in the last 2 steps the rewards of every" in " ".join(capfd.readouterr().err.split())


def test_a_run_with_differing_rewards_does_not_warn(undisturbed: tuple[Path, Any]) -> None:
    rows = read_metrics(undisturbed[0], "train")
    assert all(row["approx_kl"] >= 0 for row in rows if not row["skipped"])


# --- several processes ---------------------------------------------------------------------------


def run_on_ranks(size: int, policy: Path, output: Path, *flags: str) -> None:
    processes = start_ranks(size, main, arguments(policy, output, *flags))
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * size


def assert_same_run(output: Path, other: Path) -> None:
    """Same episodes, same scores, and weights that differ by rounding at most."""
    for kind in ("train", "evaluation"):
        ours, theirs = read_metrics(output, kind), read_metrics(other, kind)
        for name in ("step", "reward_mean", "action_tokens_mean", "searches_mean", "f1", "loss"):
            assert [row.get(name) for row in ours] == [
                row.get(name) and pytest.approx(row[name], rel=1e-3, abs=1e-5) for row in theirs
            ]
    mine, others = weights(output), weights(other)
    assert mine.keys() == others.keys()
    for name in mine:
        assert (mine[name] - others[name]).abs().max() <= 1e-3 * others[name].abs().max()


@pytest.fixture(scope="module")
def run_with_a_killed_rank(
    policy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int, str]:
    """A run on two processes of which one is killed: its folder, exit status and output."""
    folder = tmp_path_factory.mktemp("killed")
    output = folder / "run"
    job = CHILDREN.Process(target=be_torchrun, args=(folder, 2, arguments(policy, output)))
    job.start()
    while not (output / "checkpoints" / "step-000002").exists():
        assert job.is_alive(), (folder / "output.txt").read_text()
        time.sleep(0.002)
    os.kill(int((folder / "rank-1").read_text()), signal.SIGKILL)
    job.join(120)
    assert job.exitcode is not None
    return output, job.exitcode, (folder / "output.txt").read_text()


def test_a_killed_rank_ends_the_job_with_an_error_that_names_the_operation(
    run_with_a_killed_rank: tuple[Path, int, str],
) -> None:
    output, status, printed = run_with_a_killed_rank
    assert status != 0
    assert re.search(
        "zerosearch train: rank 0 of 2 lost another rank while it tried to .* --resume", printed
    )
    assert not (output / "result.json").exists()


@pytest.mark.parametrize("size", [1, 4])
def test_a_job_that_lost_a_rank_is_resumed_by_any_number_of_them(
    policy: Path,
    run_with_a_killed_rank: tuple[Path, int, str],
    undisturbed: tuple[Path, Any],
    tmp_path: Path,
    size: int,
) -> None:
    output = run_with_a_killed_rank[0].with_name(f"run-{size}")
    shutil.copytree(run_with_a_killed_rank[0], output)
    run_on_ranks(size, policy, output, "--resume")
    assert_same_run(output, undisturbed[0])
    assert json.loads((output / "result.json").read_text())["steps"] == STEPS


def test_two_processes_make_the_run_of_one(
    policy: Path, undisturbed: tuple[Path, Any], tmp_path: Path
) -> None:
    run_on_ranks(2, policy, tmp_path / "run")
    assert_same_run(tmp_path / "run", undisturbed[0])


def test_sigterm_to_one_rank_saves_and_ends_all_in_good_order(
    policy: Path, undisturbed: tuple[Path, Any], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    flags = ("--checkpoint-every", "100", "--eval-every", "0")
    processes = start_ranks(2, main, arguments(policy, output, *flags))
    wait_for(output / "metrics.jsonl", processes[0])
    processes[1].terminate()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    checkpoint = CheckpointStore(output / "checkpoints").latest()
    assert checkpoint is not None and load_state(checkpoint)["run"]["step"] < STEPS
    assert not (output / "result.json").exists()
    run(policy, output, "--resume", "--eval-every", "0")
    assert [row["step"] for row in read_metrics(output, "train")] == [1, 2, 3, 4]


# --- one step off --------------------------------------------------------------------------------

AHEAD = ("--one-step-off", "--rollout-dtype", "float64", "--importance-sampling", "token_truncate")


@pytest.fixture(scope="module")
def one_step_off(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose episodes are played one step ahead, from its first step to its last."""
    output = tmp_path_factory.mktemp("one_step_off") / "run"
    run(policy, output, *AHEAD)
    return output


def test_a_killed_run_knows_what_it_had_played_ahead(
    policy: Path, one_step_off: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    process = start(policy, output, *AHEAD)
    wait_for(output / "checkpoints" / "step-000002", process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    run(policy, output, "--resume", *AHEAD)
    assert same_bits(weights(output), weights(one_step_off))
    assert read_metrics(output, "evaluation") == read_metrics(one_step_off, "evaluation")


def test_sigterm_while_it_plays_ahead_saves_and_ends_in_good_order(
    policy: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    flags = (*AHEAD, "--checkpoint-every", "100", "--eval-every", "0")
    process = start(policy, output, *flags)
    wait_for(output / "metrics.jsonl", process)
    process.terminate()
    process.join()
    assert process.exitcode == 0
    checkpoint = CheckpointStore(output / "checkpoints").latest()
    assert checkpoint is not None and load_state(checkpoint)["run"]["step"] < STEPS
    run(policy, output, "--resume", *flags)
    assert [row["step"] for row in read_metrics(output, "train")] == [1, 2, 3, 4]


def test_two_processes_play_ahead_as_one_does(
    policy: Path, one_step_off: Path, tmp_path: Path
) -> None:
    # Each plays with a whole copy of the policy that is trained, so none is asked for.
    flags = [flag for flag in AHEAD if flag not in ("--rollout-dtype", "float64")]
    run_on_ranks(2, policy, tmp_path / "run", *flags)
    assert_same_run(tmp_path / "run", one_step_off)


@pytest.mark.parametrize(
    ("width", "trained", "rate", "warns"),
    [
        (8000, True, 3e-4, True),  # 64 million weights
        (8000, True, 8e-5, False),
        (8000, False, 3e-4, False),  # frozen, beside an adapter
        (1000, True, 3e-4, False),
    ],
)
def test_it_warns_of_a_high_rate_for_many_trained_weights(width, trained, rate, warns):
    model = nn.Linear(width, width, bias=False, device="meta").requires_grad_(trained)
    warning = learning_rate_warning(rate, model)
    if warns:
        assert warning is not None
        assert "learning_rate 0.0003" in warning and "64 million" in warning
    else:
        assert warning is None
