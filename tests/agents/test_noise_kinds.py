"""The flag --noise-kinds of every command that plays with noise, and statistics of empty pages."""

import json
from itertools import islice
from math import isnan

import pytest

from agents.cli.ask import AskConfig
from agents.cli.evaluation.evaluate import EvaluateConfig
from agents.cli.evaluation.sweep_noise import SweepConfig
from agents.cli.main import main
from agents.cli.play import PlayConfig
from agents.cli.serve_search import ServeConfig
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.report.contents import transcript_view
from agents.llm.rollout.metrics import rollout_metrics
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from agents.llm.sft.config import DemonstrationConfig
from agents.llm.sft.demonstrations import play_demonstrations
from agents.llm.trainer.config import NoiseConfig, TrainConfig
from agents.noise_kinds import NoiseKindsFlag
from agents.sb3.train_config import TrainSB3Config
from agents.storage.config_file import read_settings
from agents.studies.benchmark.config import BenchmarkConfig
from zs_env.config import make_env
from zs_env.transcripts.storage import load_transcripts

WEIGHTS = '{"misleading": 1, "empty": 3}'
KWARGS = {"noise_kinds": {"misleading": 1.0, "empty": 3.0}}


def test_every_command_with_noise_has_the_same_flag():
    configs = (AskConfig, BenchmarkConfig, DemonstrationConfig, EvaluateConfig, NoiseConfig)
    configs += (PlayConfig, ServeConfig, SweepConfig, TrainSB3Config)
    assert all(issubclass(config, NoiseKindsFlag) for config in configs)
    needed = {
        AskConfig: {"question": "Who?"},
        BenchmarkConfig: {"agents": ("random",), "engine": "none"},
        EvaluateConfig: {"agent": "random"},
        SweepConfig: {"agents": ("random",)},
    }
    for config in configs:
        made = config(**needed.get(config, {}), noise_kinds=WEIGHTS)
        assert made.noise_settings() == KWARGS
        assert config(**needed.get(config, {})).noise_settings() == {}
        with pytest.raises(ValueError, match="unknown noise kind 'rude'"):
            config(**needed.get(config, {}), noise_kinds="rude")
        if hasattr(made, "env_kwargs"):
            assert made.env_kwargs()["noise_kinds"] == KWARGS["noise_kinds"]


def test_a_training_reads_kinds_from_toml_and_keeps_them_in_its_settings():
    table = read_settings({"noise_kinds": {"misleading": 1, "empty": 3}}, TrainConfig, where="x")
    config = TrainConfig.of(**table)
    assert config.noise.noise_settings() == KWARGS
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    env = make_env(**config.noise.noise_settings())
    assert env.config.noise_kinds == (("misleading", 1.0), ("empty", 3.0))


def test_demonstrations_have_the_kinds():
    config = DemonstrationConfig(noise_kinds="empty", max_noise=1.0, max_turns=6)
    played = play_demonstrations(config, seed=0)
    taught = [one for one in islice(played, 40) if one is not None]
    turns = [turn for one in taught for turn in one.turns]
    kinds = {turn.request.noise_kind for turn in turns if turn.request is not None}
    assert kinds == {"irrelevant", "empty"}


def test_an_evaluation_records_kinds_and_counts_empty_pages_as_noisy(tmp_path, capsys):
    command = ["evaluate", "--agent", "search-once", "--episodes", "6", "--noise", "1", "--json"]
    command += ["--noise-kinds", "empty", "--output", str(tmp_path)]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["noisy_share"]["mean"] == 1.0
    transcripts = load_transcripts(tmp_path / "transcripts.jsonl")
    assert all(one.turns[0].request.noise_kind == "empty" for one in transcripts)
    assert main([*command[:-2], "--noise-kinds", "injected", "--output", str(tmp_path)]) == 2


def empty_transcript(noise):
    env = make_env(noise=noise, noise_kinds="empty", num_documents=3)
    env.reset(seed=1)
    env.step("<search>mayor</search>")
    env.step("<answer>x</answer>")
    return env.transcript()


@pytest.mark.parametrize(("noise", "noisy"), [(0.0, 0), (1.0, 3)])
def test_documents_that_are_left_out_are_noisy(noise, noisy):
    transcript = empty_transcript(noise)
    result = EpisodeResult.from_transcript(0, transcript)
    assert (result.documents, result.noisy_documents, result.labelled_documents) == (3, noisy, 3)
    view = transcript_view(transcript, lambda document: 0)
    assert view["turns"][0].get("left_out", 0) == noisy
    segments = (Segment(source=Source.PROMPT, token_ids=(1,)),)
    rollout = Rollout(segments=segments, transcript=transcript)
    metrics = rollout_metrics([Group(rollouts=(rollout,))])
    assert metrics["useful_pages"] == 1.0 - noise and not isnan(metrics["useful_pages"])
