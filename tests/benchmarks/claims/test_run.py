"""Every arm runs from its first episode to its row; existing rows are not changed."""

import json

import pytest

from agents.llm.trainer.loop import TrainingDiverged, TrainResult
from agents.llm.trainer.metrics import read_metrics
from agents.storage.config_file import with_settings
from benchmarks.claims import run
from benchmarks.claims.arms import ARMS
from benchmarks.claims.results import RunResult
from benchmarks.claims.run import ROW, main, run_arm
from zs_env.config import ENGINE_KINDS

pytestmark = pytest.mark.usefixtures("torch_settings", "no_more_kinds")


@pytest.fixture
def no_more_kinds(monkeypatch):
    """Removes the engine kind that a run adds."""
    monkeypatch.setitem(ENGINE_KINDS, "mispaired", lambda questions: None)


@pytest.mark.parametrize("name", ARMS)
def test_the_arm_runs(name, tiny_base):
    assert run_arm(name, tiny_base)
    row = RunResult.from_json(json.loads((tiny_base.run.output / ROW).read_text()))
    assert (row.arm, row.seed, row.failures, row.note) == (name, 0, 0, "")
    assert set(row.percents) == {"noise 0", "noise 0.5", "real engine"}
    assert {len(values) for values in row.percents.values()} == {3}
    if ARMS[name].learning.startswith("reinforcement"):
        steps = read_metrics(tiny_base.run.output, "train")
        assert len(row.rewards) == len(steps) == 2
        # Steps are skipped only if no group has different rewards.
        assert all(step["zero_variance_groups"] == 2 for step in steps if step["skipped"])
        assert [step for step, _ in row.held_out["real engine"]] == [0, 2]
    before = (tiny_base.run.output / ROW).stat().st_mtime_ns
    assert run_arm(name, tiny_base)
    assert (tiny_base.run.output / ROW).stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["default", "imitation", "prompted"])
def test_precisions_that_are_auto_are_chosen(name, tiny_base):
    base = with_settings(tiny_base, {"autocast": "auto", "rollout_dtype": "auto"})
    assert run_arm(name, base)
    assert (base.run.output / ROW).exists()


def test_without_git_a_row_names_no_commit(tiny_base, monkeypatch):
    monkeypatch.setenv("PATH", str(tiny_base.run.output / "nothing"))
    assert run_arm("prompted", tiny_base)
    assert json.loads((tiny_base.run.output / ROW).read_text())["commit"] == ""


def test_a_run_that_diverges_is_evaluated_at_its_last_checkpoint(tiny_base, monkeypatch):
    def diverge(config):
        (config.run.output / "metrics.jsonl").touch()
        raise TrainingDiverged("three steps in a row were skipped")

    monkeypatch.setattr(run, "train", diverge)
    assert run_arm("default", tiny_base)
    row = RunResult.from_json(json.loads((tiny_base.run.output / ROW).read_text()))
    assert row.note == "TrainingDiverged: three steps in a row were skipped"
    assert row.rewards == () and len(row.percents["real engine"]) == 3


def test_a_run_that_is_stopped_leaves_no_row(tiny_base, monkeypatch):
    stopped = TrainResult(steps=1, train_seconds=1.0, checkpoint="none", stopped=True)
    monkeypatch.setattr(run, "train", lambda config: stopped)
    assert not run_arm("default", tiny_base)
    assert not (tiny_base.run.output / ROW).exists()


def test_an_arm_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ValueError, match="Did you mean 'unmasked'"):
        main(["unmaskd"])
