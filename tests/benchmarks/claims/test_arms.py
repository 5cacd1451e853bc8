"""Arms change their own settings only."""

import json
from statistics import fmean

import pytest

from agents.cli.training.train import parse_arguments
from agents.storage.config_file import settings_of, with_settings
from benchmarks.claims.arms import ARMS, arms_for
from tests.paths import ROOT

FOLDER = ROOT / "benchmarks" / "claims"
GPU = FOLDER / "gpu.toml"
REAL = (
    *("--policy", "mine", "--questions", "train.jsonl", "--eval-questions", "dev.jsonl"),
    *("--real-engine", "wikipedia.jsonl"),
)


def test_the_budget_is_the_same_in_every_arm(tiny_base):
    shared = ("steps", "questions_per_step", "group_size", "final_episodes", "policy", "noise_end")
    for name in arms_for(tiny_base):
        changed = with_settings(tiny_base, ARMS[name].change(tiny_base))
        assert all(settings_of(changed)[one] == settings_of(tiny_base)[one] for one in shared), name


def test_noise_levels_of_the_arms(tiny_base):
    base = with_settings(tiny_base, {"steps": 24})
    noise = {name: with_settings(base, ARMS[name].change(base)).noise.schedule(24) for name in ARMS}
    rising = [base.noise.schedule(base.run.steps).probability(step) for step in range(24)]
    assert (rising[0], rising[-1]) == (0.2, 0.5)
    assert noise["noise-mean"].probability(7) == pytest.approx(fmean(rising), abs=1e-4)
    assert noise["noise-half"].probability(7) == 0.5
    assert noise["noise-none"].probability(7) == 0.0
    falling = [noise["noise-falling"].probability(step) for step in range(24)]
    assert falling == pytest.approx(rising[::-1])


def test_other_engines_in_training_do_not_change_the_evaluation(tiny_base):
    for name in ("real-engine", "wrong-question", "wrong-answer"):
        changed = with_settings(tiny_base, ARMS[name].change(tiny_base))
        assert (changed.environment.eval_engine, changed.environment.real_engine) == ("world", None)
    wrong = json.loads(str(ARMS["wrong-answer"].change(tiny_base)["engine"]))
    assert wrong["engine"] == {"kind": "world"} and wrong["leak_answer"] is True


def test_mispairing_needs_a_fixed_number_of_rows(tiny_base):
    with pytest.raises(ValueError, match="max_refills=1"):
        ARMS["wrong-question"].change(with_settings(tiny_base, {"max_refills": 1}))


def test_the_trainer_accepts_the_gpu_settings():
    base = parse_arguments(["--config", str(GPU), *REAL])
    assert (
        base.optimizer.autocast
        and base.generation.rollout_dtype == "bfloat16"
        and base.run.deterministic
    )
    names = arms_for(base)
    assert set(ARMS) - set(names) == {"imitation", "wrong-answer"}
    changed = {name: with_settings(base, ARMS[name].change(base)) for name in names}
    assert changed["real-engine"].environment.engine == "wikipedia.jsonl"
    assert {
        one.environment.eval_engine for name, one in changed.items() if name != "no-search"
    } == {"paragraphs"}
    inner = json.loads(str(changed["wrong-question"].environment.engine))["engine"]
    assert inner["kind"] == "simulator" and inner["prompts"] == "tuned"


def test_the_trainer_accepts_the_settings_for_real_questions():
    base = parse_arguments(["--config", str(FOLDER / "real_questions.toml"), *REAL])
    for name in ("default", "real-engine", "noise-none", "prompted"):
        changed = with_settings(base, ARMS[name].change(base))
        assert (changed.environment.eval_engine or changed.environment.engine) == "paragraphs"
        assert changed.environment.real_engine == "wikipedia.jsonl"


def test_the_real_engine_is_required_for_other_questions():
    base = parse_arguments(["--config", str(GPU), *REAL[:-2]])
    with pytest.raises(ValueError, match="--real-engine"):
        ARMS["real-engine"].change(base)
