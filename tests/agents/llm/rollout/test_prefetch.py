"""Prefetched rollouts: their weights, their concurrency with updates, and failures."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.stop_signal import Stopped, StopSignal
from agents.llm.generators.base import (
    GenerationError,
    GenerationRequest,
    Generator,
    generate,
    never,
)
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import load_policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.prefetch import RolloutPrefetcher
from agents.llm.rollout.question_order import question_indices, step_seeds
from agents.llm.rollout.types import Group
from agents.llm.trainer import rollouts as step_rollouts
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import training_environment
from agents.llm.trainer.loop import train
from agents.llm.trainer.metrics import read_metrics
from agents.llm.trainer.run import check_one_step_off
from agents.llm.trainer.run_folder import CheckpointStore, load_state
from agents.llm.trainer.setup import random_state
from agents.storage.config_file import with_settings

# Long enough for any machine; only a test that fails waits so long.
PATIENCE_S = 120.0

# --- the thread ----------------------------------------------------------------------------------


class EndlessGenerator:
    """Generates turns that never end; `polled` is set by the first `poll`."""

    max_context = 64

    def __init__(self) -> None:
        self.polled = Event()

    def submit(self, requests: object, sampling: object) -> None:
        pass

    def poll(self, should_yield: Callable[[], bool] = never) -> dict:
        self.polled.set()
        while not should_yield():
            pass
        return {}

    def release(self, sessions: object) -> None:
        pass

    def load_weights(self, weights: object = None) -> None:
        pass

    def close(self) -> None:
        pass


def collect_forever(generator: Generator) -> list[Group]:
    generate(generator, [GenerationRequest(session=0, token_ids=[1])], Sampling())
    return []


def test_groups_are_kept_until_cleared(make_rollout) -> None:
    groups, prefetcher = [Group(rollouts=(make_rollout(2, 3),))], _prefetcher()
    assert prefetcher.get(1) is None
    with prefetcher.prefetch(1, lambda _: groups):
        pass
    share = prefetcher.get(1)
    assert share is not None and share() == share() == groups
    assert prefetcher.get(2) is None
    prefetcher.clear()
    assert prefetcher.get(1) is None and prefetcher.to_json(1) is None


def test_an_error_of_the_collection_is_raised_by_get() -> None:
    def fail(_: Generator) -> list[Group]:
        raise GenerationError("no server")

    prefetcher, reached = _prefetcher(), []
    with prefetcher.prefetch(1, fail):
        reached.append("rest of the update")
    assert reached and prefetcher.to_json(1) is None
    share = prefetcher.get(1)
    assert share is not None
    with pytest.raises(GenerationError, match="no server"):
        share()


def test_an_error_in_the_update_cancels_the_collection() -> None:
    generator = EndlessGenerator()
    prefetcher = _prefetcher(generator)
    with pytest.raises(ZeroDivisionError), prefetcher.prefetch(1, collect_forever):
        assert generator.polled.wait(PATIENCE_S)
        raise ZeroDivisionError
    assert prefetcher.get(1) is None
    with prefetcher.prefetch(2, lambda _: []):  # it can be used again
        pass
    assert prefetcher.to_json(2) == {"step": 2, "groups": "[]"}


def test_sigterm_cancels_the_collection_but_not_the_update() -> None:
    generator, reached = EndlessGenerator(), []
    with StopSignal() as stop:
        prefetcher = _prefetcher(generator, stop)
        with prefetcher.prefetch(1, collect_forever):
            assert generator.polled.wait(PATIENCE_S)
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("rest of the update")
        share = prefetcher.get(1)
    assert reached and share is not None
    with pytest.raises(Stopped):
        share()


def test_groups_are_restored_in_another_process(make_rollout) -> None:
    groups, prefetcher = [Group(rollouts=(make_rollout(2, 3), make_rollout(2, 1)))], _prefetcher()
    with prefetcher.prefetch(5, lambda _: groups):
        pass
    assert prefetcher.to_json(4) is None
    for distributed, wanted in (
        (SINGLE_PROCESS, groups),
        (DistributedContext(rank=1, world_size=2), []),
    ):
        share = RolloutPrefetcher(distributed, _NOBODY, StopSignal(), prefetcher.to_json(5)).get(5)
        assert share is not None and share() == wanted


_NOBODY = EndlessGenerator()


def _prefetcher(
    generator: Generator = _NOBODY, stop: StopSignal | None = None
) -> RolloutPrefetcher:
    return RolloutPrefetcher(SINGLE_PROCESS, generator, stop or StopSignal())


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "rollout_dtype='float32'.*vllm-server"),
        ({"generator": '{"kind": "transformers", "max_context": 99}'}, "rollout_dtype"),
        (
            {
                "rollout_dtype": "float32",
                "engine": '{"kind": "simulator", "generator": {"kind": "policy"}}',
            },
            "another generator",
        ),
    ],
)
def test_generators_that_read_the_weights_in_training_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    config = TrainConfig.of(importance_sampling="token_mask", **settings)
    check_one_step_off(config, SINGLE_PROCESS)
    config = with_settings(config, {"one_step_off": True})
    with pytest.raises(ValueError, match=message):
        check_one_step_off(config, SINGLE_PROCESS)
    # There the policy that plays is not the one that is trained.
    check_one_step_off(config, DistributedContext(rank=1, world_size=2))


def test_a_refused_run_creates_no_folder(tmp_path: Path) -> None:
    config = TrainConfig.of(
        output=tmp_path / "run", one_step_off=True, importance_sampling="token_mask"
    )
    with pytest.raises(ValueError, match="rollout_dtype"):
        train(config)
    assert not config.run.output.exists()


def test_generators_with_their_own_weights_are_accepted() -> None:
    for settings in ({"generator": "vllm"}, {"rollout_dtype": "bfloat16"}):
        config = TrainConfig.of(one_step_off=True, importance_sampling="token_mask", **settings)
        check_one_step_off(config, SINGLE_PROCESS)


def test_one_step_off_needs_importance_sampling() -> None:
    with pytest.raises(ValueError, match="importance_sampling='token_truncate'"):
        TrainConfig.of(one_step_off=True, rollout_dtype="float32")


# --- whole runs ----------------------------------------------------------------------------------

QUESTIONS, MEMBERS, STEPS = 2, 3, 3
SAMPLING = Sampling(max_new_tokens=32)


@pytest.fixture
def config(tmp_path: Path, torch_settings: None) -> TrainConfig:
    return TrainConfig.of(
        output=tmp_path / "run",
        steps=STEPS,
        # The tiny policy answers some of them.
        questions='{"kind": "world", "structures": ["chain1"]}',
        real_engine="world",
        questions_per_step=QUESTIONS,
        group_size=MEMBERS,
        max_turns=2,
        num_documents=2,
        max_new_tokens=SAMPLING.max_new_tokens,
        # The bonus has a gradient whatever the rewards are.
        entropy_coef=0.01,
        learning_rate=3e-3,
        warmup_steps=0,
        lr_schedule="constant",
        noise_shape="constant",
        importance_sampling="token_truncate",
        rollout_dtype="float32",
        one_step_off=True,
        eval_every=0,
        final_episodes=2,
        eval_noise=(0.0,),
        checkpoint_every=1,
        threads=1,
        tensorboard=False,
    )


Update = tuple[list[Group], dict[str, Tensor]]


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Update]]:
    """Groups of each update, and the weights before it."""
    seen: list[Update] = []
    plain = Learner.update

    def update(self: Learner, groups: list[Group]) -> Any:
        weights = {name: weight.clone() for name, weight in self.policy.state_dict().items()}
        seen.append((groups, weights))
        return plain(self, groups)

    monkeypatch.setattr(Learner, "update", update)
    yield seen


def collected_directly(config: TrainConfig, weights: dict[str, Tensor], step: int) -> list[Group]:
    policy = load_policy("tiny")
    policy.model.load_state_dict(weights)
    config = with_settings(config, {"prompt": policy.prompt})
    environment = training_environment(config, QUESTIONS * MEMBERS, policy)
    before = random_state()["torch"]
    groups = collect_rollouts(
        environment,
        policy,
        TransformersGenerator(policy),
        question_indices=question_indices(
            step * QUESTIONS,
            QUESTIONS,
            num_questions=environment.num_questions,
            seed=config.run.seed,
        ),
        seeds=step_seeds(config.run.seed, step, QUESTIONS + 1)[:QUESTIONS],
        group_size=MEMBERS,
        sampling=SAMPLING,
        noise_probability=config.noise.schedule(config.run.steps).probability(step),
        training_step=step,
        share_group_seed=True,
    )
    assert torch.equal(random_state()["torch"], before)
    environment.close()
    return groups


def test_episodes_come_from_the_weights_before_the_last_update(
    config: TrainConfig, updates: list[Update]
) -> None:
    train(config)
    for step, (groups, newest) in enumerate(updates):
        older = updates[max(step - 1, 0)][1]
        assert groups == collected_directly(config, older, step)
        if step:
            assert groups != collected_directly(config, newest, step)
    rows = read_metrics(config.run.output, "train")
    # The first step's sampler is the learner to the last bits; later ones lag behind.
    assert rows[0]["sampler_k3"] < 1e-9 < min(row["sampler_k3"] for row in rows[1:])


def test_without_weight_changes_it_equals_a_run_without_prefetch(
    config: TrainConfig, updates: list[Update]
) -> None:
    config = with_settings(config, {"learning_rate": 1e-30})  # far below the last bit of any weight
    rows = []
    for one_step_off in (False, True):
        folder = config.run.output.with_name(f"run {one_step_off}")
        train(with_settings(config, {"output": folder, "one_step_off": one_step_off}))
        rows.append(
            [
                {name: value for name, value in row.items() if not name.endswith("seconds")}
                for kind in ("train", "evaluation")
                for row in read_metrics(folder, kind)
            ]
        )
    assert len(rows[0]) > STEPS and rows[0] == rows[1]
    played = [groups for groups, _ in updates]
    assert len(played) == 2 * STEPS and played[:STEPS] == played[STEPS:]
    rewards = {rollout.reward for groups in played for g in groups for rollout in g.rollouts}
    assert len(rewards) > 1


def test_an_update_and_the_next_rollouts_run_at_the_same_time(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, playing = Event(), Event()
    update, collect = Learner.update, collect_rollouts

    def update_beside(self: Learner, groups: list[Group]) -> Any:
        training.set()
        assert playing.wait(PATIENCE_S), "nothing is collected during the first update"
        return update(self, groups)

    def collect_beside(*arguments: Any, **settings: Any) -> list[Group]:
        if settings["training_step"] == 1:
            assert training.wait(PATIENCE_S), "it is collected before the first update"
            playing.set()
        return collect(*arguments, **settings)

    monkeypatch.setattr(Learner, "update", update_beside)
    monkeypatch.setattr(step_rollouts, "collect_rollouts", collect_beside)
    assert train(with_settings(config, {"steps": 2})).steps == 2


def test_a_failure_of_the_generator_ends_the_run_which_can_be_resumed(
    config: TrainConfig, updates: list[Update], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = collect_rollouts

    def fail_once(*arguments: Any, **settings: Any) -> list[Group]:
        if settings["training_step"] == 2:
            raise GenerationError("no server")
        return collect(*arguments, **settings)

    with monkeypatch.context() as failing:
        failing.setattr(step_rollouts, "collect_rollouts", fail_once)
        with pytest.raises(GenerationError, match="no server"):
            train(config)
    # It came up during the second update, which is whole.
    latest = CheckpointStore(config.run.output / "checkpoints").latest()
    assert latest is not None
    assert load_state(latest)["run"]["step"] == 2 and load_state(latest)["prefetched"] is None
    train(with_settings(config, {"resume": True}))
    assert [row["step"] for row in read_metrics(config.run.output, "train")] == [1, 2, 3]
    # What failed is played anew, by the newest weights there are.
    groups, newest = updates[2]
    assert groups == collected_directly(config, newest, 2)


def test_after_a_rollback_rollouts_come_from_the_restored_policy(
    config: TrainConfig, updates: list[Update], monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapse(recent: object, step: int, row: object) -> tuple[object, str | None]:
        return recent, "forced" if step == 2 else None

    monkeypatch.setattr("agents.llm.trainer.loop.check_collapse", collapse)
    train(with_settings(config, {"guard": "roll_back"}))
    beginning = updates[0][1]
    groups, weights = updates[2]
    assert all(torch.equal(weights[name], beginning[name]) for name in weights)
    assert groups == collected_directly(config, beginning, 2)
