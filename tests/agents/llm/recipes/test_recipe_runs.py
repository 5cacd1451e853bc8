"""Every recipe runs on the embedded world, small, and does what it is named for at every step."""

import json
import math
from collections import defaultdict

import pytest
import torch

from agents.cli.training.train import main
from agents.llm.recipes.recipe import recipe_paths
from agents.llm.rollout.question_order import structures_at
from agents.llm.trainer import rollouts as step_rollouts
from agents.llm.trainer.metrics import read_metrics
from zs_env.rewards import PRESETS
from zs_env.transcripts.storage import load_transcripts

STEPS = 5
_TRAIN = (
    *("--questions-per-step", "2", "--group-size", "2", "--max-new-tokens", "32"),
    *("--eval-every", "0", "--final-episodes", "2", "--checkpoint-every", "100"),
    *("--no-tensorboard", "--threads", "1", "--seed", "0"),
)
_WARM_START = ("--episodes", "64", "--held-out", "8", "--tokens-per-batch", "1024")
_TURNS = ("--max-turns", "3")
FLAGS = {
    **dict.fromkeys(recipe_paths(), (*_TRAIN, *_TURNS)),
    "r1": (*_TRAIN, *_WARM_START),
    "sft": (*_WARM_START, "--threads", "1"),
}
# The reward of each stage that is RL, and the engine that its pages come from; None for no page.
STAGES = {
    "deepresearcher": [("deepresearcher", "bm25")],
    "r1": [("r1", None)],
    "r1-searcher": [("r1_searcher_stage1", "bm25"), ("r1_searcher_stage2", "bm25")],
    "research": [("research", "bm25")],
    "search-r1": [("search_r1", "bm25")],
    "searchgym": [("search_r1", "bm25")],
    "sft": [],
    "ssrl": [("ssrl", "simulator")],
    "zerosearch": [("zerosearch", "world")],
}


def test_every_recipe_is_run():
    assert sorted(STAGES) == sorted(recipe_paths())


@pytest.fixture
def played(monkeypatch):
    """The groups of every step by the reward of its stage, and what they were played with."""
    seen = defaultdict(list)
    collect = step_rollouts.collect_rollouts

    def watch(environment, policy, *args, **kwargs):
        groups = collect(environment, policy, *args, **kwargs)
        (reward,) = {
            json.dumps(tuple(term for term, _ in rollout.transcript.reward_terms))
            for group in groups
            for rollout in group.rollouts
        }
        seen[reward].append((groups, environment.unwrapped, policy))
        return groups

    monkeypatch.setattr(step_rollouts, "collect_rollouts", watch)
    threads = torch.get_num_threads()
    yield seen
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_the_recipe_runs_as_it_is_named(name, played, tmp_path):
    output = ("--output", str(tmp_path / "run"))
    assert main(["--recipe", name, *output, "--steps", str(STEPS), *FLAGS[name]]) == 0
    assert len(played) == len(STAGES[name])
    for number, (reward, engine) in enumerate(STAGES[name], start=1 + (name == "r1")):
        output = tmp_path / "run"
        if name in ("r1", "r1-searcher"):
            output /= f"stage-{number}"
        _check_metrics(output)
        steps = played[json.dumps([term for term, _ in PRESETS[reward].weights])]
        assert len(steps) == STEPS
        transcripts = [
            rollout.transcript
            for groups, _, _ in steps
            for group in groups
            for rollout in group.rollouts
        ]
        assert len(transcripts) == 4 * STEPS
        for transcript in transcripts:
            assert dict(transcript.reward_terms) == PRESETS[reward](transcript)
        engines = {d.engine for t in transcripts for turn in t.turns for d in turn.documents}
        assert engines == ({engine} - {None})
    ALSO[name](tmp_path / "run", played)


def _check_metrics(output):
    rows = read_metrics(output, "train")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    # The tiny policy searches in the right form from the start: stage 1 pays for little else.
    learnt = sum(not row["skipped"] for row in rows)
    assert learnt >= (1 if output.name == "stage-1" else STEPS / 4)
    for row in rows:
        assert row["failed_episodes"] == row["token_mismatch"] == 0
        numbers = ["reward_mean", "f1_mean", "tokens_mean"]
        if row["skipped"]:
            assert row["zero_variance_groups"] == 2  # there was nothing to learn
        else:
            numbers += ["loss", "grad_norm", "entropy"]
        assert all(math.isfinite(row[number]) for number in numbers), row
    assert not (output / "bad_batches").exists()
    assert (output / "result.json").exists()


def _only(played):
    (steps,) = played.values()
    return steps


def _nothing_more(output, played):
    pass


def _answers_in_one_turn(output, played):
    transcripts = [
        rollout.transcript
        for groups, _, _ in _only(played)
        for group in groups
        for rollout in group.rollouts
    ]
    assert all(transcript.num_searches == 0 for transcript in transcripts)
    assert all(len(transcript.turns) == 1 for transcript in transcripts)
    # The cold start taught it to answer at once, which the tiny policy never does.
    assert any(transcript.reason == "answer" for transcript in transcripts)
    config = json.loads((output / "stage-2" / "config.json").read_text())
    assert config["policy"] == str(output / "stage-1")


def _goes_on_from_stage_1(output, played):
    config = json.loads((output / "stage-2" / "config.json").read_text())
    assert config["policy"] == str(output / "stage-1" / "checkpoints" / f"step-{STEPS:06d}")
    first, _ = played.values()
    structures = {
        group.rollouts[0].transcript.question.metadata["structure"]
        for groups, _, _ in first
        for group in groups
    }
    assert structures == {"chain1"}


def _structures_join(output, played):
    curriculum = json.loads((output / "config.json").read_text())["curriculum"]
    for step, (groups, _, _) in enumerate(_only(played)):
        asked = {g.rollouts[0].transcript.question.metadata["structure"] for g in groups}
        assert asked <= set(structures_at(step, curriculum=curriculum, steps=STEPS // 2))


def _noise_rises(output, played):
    noise = [g[0].rollouts[0].transcript.noise_probability for g, _, _ in _only(played)]
    assert noise[0] == 0.0 and noise[-1] == 0.5
    assert noise == sorted(set(noise))


def _policy_writes(output, played):
    for _, environment, policy in _only(played):
        assert environment._engine.engine.generator.model is policy.model


def _imitates(output, played):
    rows = read_metrics(output, "warm_start")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert all(math.isfinite(row["loss"]) for row in rows)
    result = json.loads((output / "result.json").read_text())
    assert result["loss_after"] < result["loss_before"]
    shown = load_transcripts(output / "demonstrations.jsonl")
    assert all(transcript.scores()["exact_match"] == 1 for transcript in shown)
    assert all(transcript.num_searches > 0 for transcript in shown)


ALSO = {
    **dict.fromkeys(STAGES, _nothing_more),
    "r1": _answers_in_one_turn,
    "r1-searcher": _goes_on_from_stage_1,
    "searchgym": _structures_join,
    "sft": _imitates,
    "ssrl": _policy_writes,
    "zerosearch": _noise_rises,
}
