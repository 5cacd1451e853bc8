"""Settings are checked at once, recorded whole, and hold through a resumed run."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from agents.cli.flags import parse_flags
from agents.llm.distributed.context import SINGLE_PROCESS
from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer import setup
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.run_folder import RunFolder, resumed_config
from agents.specs import spec_from_text
from agents.storage.config_file import with_settings

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def changed(run: TrainConfig, **settings) -> TrainConfig:
    return with_settings(run, settings)


def test_a_recorded_config_comes_back_equal() -> None:
    config = TrainConfig.of(
        steps=7, output=Path("somewhere"), eval_noise=(0.0, 0.3), curriculum=("chain1",)
    )
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_record_from_before_a_setting_existed_has_its_default():
    record = TrainConfig.of(steps=7).to_json()
    del record["curriculum"], record["rollout_dtype"]
    assert TrainConfig.from_json(record) == TrainConfig.of(steps=7)


def test_every_field_is_documented() -> None:
    for part in (getattr(TrainConfig(), field.name) for field in fields(TrainConfig)):
        assert is_dataclass(part)
        for field in fields(part):
            documentation = "".join(base.__doc__ or "" for base in type(part).__mro__)
            assert f"\n        {field.name}: " in documentation, field.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"eval_noise": (1.5,)}, "eval_noise holds probabilities"),
        ({"noise_end": 2.0}, "NoiseSchedule.end"),
        ({"algorithm": "sft"}, "zerosearch warm-start"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.of(**settings)


def test_noise_goes_from_the_first_step_to_the_last() -> None:
    noise = TrainConfig.of(steps=11, noise_start=0.1, noise_end=0.5).noise.schedule(11)
    assert noise.probability(0) == pytest.approx(0.1)
    # (4^0.5 - 1) / 3 = 1/3 of the way at half time.
    assert noise.probability(5) == pytest.approx(0.1 + 0.4 / 3)
    assert noise.probability(10) == pytest.approx(0.5)


def test_a_resumed_run_may_find_its_simulator_elsewhere_and_spend_more() -> None:
    def engine(port: int, budget: float, prompts: str = "tuned") -> str:
        generator = {"kind": "server", "servers": f"http://127.0.0.1:{port}/v1"}
        simulator = {"kind": "simulator", "prompts": prompts, "generator": generator}
        return json.dumps({"kind": "metered", "budget": budget, "engine": simulator})

    run = TrainConfig.of(engine=engine(8000, 1.0))
    resumed_config(changed(run, resume=True, engine=engine(8001, 2.0)), run)
    with pytest.raises(ValueError, match="engine="):
        resumed_config(changed(run, resume=True, engine=engine(8000, 1.0, "prompted")), run)


def test_resuming_under_other_settings_names_them() -> None:
    run = TrainConfig.of(steps=10, seed=1)
    resumed_config(changed(run, resume=True, json=True, checkpoint_every=3), run)
    with pytest.raises(ValueError, match=r"seed=2 \(the run has 1\)"):
        resumed_config(changed(run, seed=2), run)


def test_more_steps_continue_a_run_only_where_they_change_no_schedule() -> None:
    run = TrainConfig.of(steps=10)
    with pytest.raises(ValueError, match="steps=20"):
        resumed_config(changed(run, steps=20), run)
    run = TrainConfig.of(steps=10, noise_steps=10, lr_schedule="constant")
    resumed_config(changed(run, steps=20), run)
    run = TrainConfig.of(steps=10, noise_steps=10, lr_schedule="linear")
    with pytest.raises(ValueError, match="steps=20"):
        resumed_config(changed(run, steps=20), run)


def test_questions_and_engines_are_json_kinds_or_files() -> None:
    assert spec_from_text('{"kind": "world", "seed": 3}', role="questions") == {
        "kind": "world",
        "seed": 3,
    }
    assert spec_from_text("world", role="engine") == {"kind": "world"}
    assert spec_from_text("a/b.jsonl.gz", role="questions") == {
        "kind": "file",
        "path": "a/b.jsonl.gz",
    }
    assert spec_from_text("corpus.parquet", role="engine") == {
        "kind": "bm25",
        "passages": "corpus.parquet",
    }
    with pytest.raises(ValueError, match="not valid JSON"):
        spec_from_text('{"kind": ', role="engine")
    with pytest.raises(ValueError, match='"kind"'):
        spec_from_text("[1]", role="engine")


# --- precision -----------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    """Sets whether bfloat16 is found to be faster."""
    return lambda faster: monkeypatch.setattr(setup, "bfloat16_is_faster", lambda device: faster)


AUTO = {"autocast": "auto", "rollout_dtype": "auto", "device": "cpu"}


@pytest.mark.parametrize(
    ("faster", "settings", "expected"),
    [
        (True, {}, (True, "bfloat16")),
        (False, {}, (False, None)),
        # Rollouts that are collected during an update need a copy.
        (False, {"one_step_off": True, "importance_sampling": "token_mask"}, (False, "float32")),
        (True, {"generator": "vllm"}, (True, None)),
        (True, {"dtype": "bfloat16"}, (False, None)),
        (True, {"dtype": "float64"}, (False, None)),
        (True, {"autocast": False}, (False, "bfloat16")),
        (True, {"rollout_dtype": None}, (True, None)),
        (False, {"autocast": True, "rollout_dtype": "bfloat16"}, (True, "bfloat16")),
    ],
)
def test_auto_is_replaced_by_the_faster_precision(measured, faster, settings, expected) -> None:
    measured(faster)
    config = setup.choose_precision(TrainConfig.of(**{**AUTO, **settings}), SINGLE_PROCESS)
    assert (config.optimizer.autocast, config.generation.rollout_dtype) == expected


def test_a_warm_start_chooses_its_precision_too(measured) -> None:
    measured(True)
    config = WarmStartConfig.of(autocast="auto", device="cpu")
    assert setup.choose_precision(config, SINGLE_PROCESS).optimizer.autocast is True


def test_a_run_of_several_processes_is_resumed_in_one_with_a_copy_of_the_weights(tmp_path) -> None:
    settings = {"one_step_off": True, "importance_sampling": "token_mask", "output": tmp_path}
    recorded = TrainConfig.of(**settings, dtype="float32", rollout_dtype=None)
    resumed = resumed_config(changed(recorded, rollout_dtype="float32"), recorded)
    assert resumed.generation.rollout_dtype == "float32"
    with pytest.raises(ValueError, match="rollout_dtype='bfloat16'"):
        resumed_config(changed(recorded, rollout_dtype="bfloat16"), recorded)
    # The last step of a run prefetches no episodes.
    fixed = changed(recorded, noise_steps=9, lr_schedule="constant", steps=4)
    with pytest.raises(ValueError, match="steps=5"):
        resumed_config(changed(fixed, steps=5), fixed)
    plain = changed(fixed, one_step_off=False)
    assert resumed_config(changed(plain, steps=5), plain).run.steps == 5


def test_a_resumed_run_keeps_the_checkpoint_that_it_began_with(tmp_path) -> None:
    first = tmp_path / "first"
    for step in (5, 10):
        checkpoint = first / "checkpoints" / f"step-{step:06d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").touch()
    best = first / "checkpoints" / "best.json"
    best.write_text('{"step": 5}')
    config = TrainConfig.of(policy=str(first), output=tmp_path / "second")
    folder = RunFolder(config)
    began_with = str(first / "checkpoints" / "step-000005")
    assert folder.config.model.policy == began_with
    folder.record_config()
    best.write_text('{"step": 10}')
    assert RunFolder(changed(config, resume=True)).config.model.policy == began_with
    with pytest.raises(ValueError, match="policy='tiny'"):
        RunFolder(changed(config, resume=True, policy="tiny"))


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_turns_of_one_episode_are_compared_only_if_their_returns_differ(gamma) -> None:
    settings = {"algorithm": "grpo_turn", "group_size": 1, "gamma": gamma}
    if gamma == 1.0:
        with pytest.raises(ValueError, match="grpo_turn compares the episodes of a group"):
            TrainConfig.of(**settings)
    else:
        assert TrainConfig.of(**settings).rollouts.group_size == 1


def test_a_resumed_run_keeps_the_precision_of_its_first_session(tmp_path: Path) -> None:
    first = TrainConfig.of(**AUTO, output=tmp_path)
    recorded = changed(first, autocast=True, rollout_dtype="bfloat16", threads=2)
    resumed = resumed_config(changed(first, resume=True), recorded)
    assert resumed.optimizer.autocast is True
    assert resumed.generation.rollout_dtype == "bfloat16"
    assert resumed.run.threads == 2
    with pytest.raises(ValueError, match=r"autocast=False \(the run has True\)"):
        resumed_config(changed(first, autocast=False), recorded)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (False, "auto")),
        (["--autocast", "auto", "--recompute-logprobs", "False"], ("auto", False)),
        (["--autocast", "--recompute-logprobs"], (True, True)),
        (["--no-autocast", "--recompute-logprobs", "auto", "--steps", "3"], (False, "auto")),
        (["--autocast", "True", "--no-recompute-logprobs"], (True, False)),
    ],
)
def test_switches_that_may_be_auto_are_set_with_and_without_a_value(flags, expected) -> None:
    config = parse_flags(TrainConfig, flags, prog="zerosearch train", description="")
    assert (config.optimizer.autocast, config.algorithm.recompute_logprobs) == expected
