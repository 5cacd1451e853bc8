"""Questions whose prompt is longer than the limit, found when an environment is made."""

import json
import logging

import pytest

from agents.cli.ask import AskConfig
from agents.cli.evaluation.evaluate import EvaluateConfig
from agents.cli.evaluation.sweep_noise import SweepConfig
from agents.cli.main import main
from agents.cli.play import PlayConfig
from agents.cli.verl_rows import VerlRowsConfig
from agents.llm.sft.config import DemonstrationConfig
from agents.llm.sft.demonstrations import play_demonstrations
from agents.llm.trainer.config import EnvironmentConfig
from agents.prompt_limits import PromptLimits
from agents.sb3.train_config import TrainSB3Config
from agents.simulator_tuning.tune_config import TuneConfig
from agents.studies.benchmark.config import BenchmarkConfig
from zs_env.config import make_env
from zs_env.engines import ScriptedEngine
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.questions.question import Question
from zs_env.vector_env import ZeroSearchVectorEnv

QUESTIONS = [
    Question(id=f"q{length}", text="w" * length, answers=("a",)) for length in (5, 40, 7, 50)
]
# The prompt "bare" adds "Question: " and a line break.
LIMITS = {"max_prompt_chars": 5 + 11 + 2}


def make(build=ZeroSearchEnv, *first, **limits):
    limits = Limits(**{**LIMITS, **limits})
    return build(*first, QUESTIONS, ScriptedEngine({}), prompt="bare", limits=limits)


@pytest.mark.parametrize("first", [(ZeroSearchEnv,), (ZeroSearchVectorEnv, 3)])
def test_overlong_prompts_are_refused_when_the_environment_is_made(first):
    with pytest.raises(ValueError, match=r"2 of 4 questions .*max_prompt_chars=18.*'q40' with 51"):
        make(*first)


@pytest.mark.parametrize("first", [(ZeroSearchEnv,), (ZeroSearchVectorEnv, 3)])
def test_skipped_questions_are_counted_and_never_played(first, caplog):
    with caplog.at_level(logging.WARNING):
        env = make(*first, overlong_prompts="skip")
    assert env.num_questions == 2
    assert [record.getMessage() for record in caplog.records if "2 of 4" in record.getMessage()]
    ids = set()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        ids |= (
            {info["question_id"]}
            if isinstance(info["question_id"], str)
            else set(info["question_id"])
        )
    assert ids == {"q5", "q7"}


def test_a_prompt_at_the_limit_is_kept_and_a_set_without_questions_is_refused():
    assert make(overlong_prompts="skip", max_prompt_chars=5 + 11).num_questions == 1
    with pytest.raises(ValueError, match="4 of 4 questions"):
        make(overlong_prompts="skip", max_prompt_chars=5 + 10)
    with pytest.raises(ValueError, match="overlong_prompts='drop', expected one of"):
        Limits(overlong_prompts="drop")  # type: ignore[arg-type]


class Lazy:
    """A set that is neither a list nor a tuple."""

    def __init__(self, questions, length=None):
        self.questions, self.length = questions, length or len(questions)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.questions[index % len(self.questions)]


def test_every_finite_set_is_checked_and_generated_ones_are_not():
    settings = {"prompt": "bare", "limits": Limits(**LIMITS)}
    with pytest.raises(ValueError, match="2 of 4 questions"):
        ZeroSearchEnv(Lazy(QUESTIONS), ScriptedEngine({}), **settings)
    short = Lazy([QUESTIONS[0], QUESTIONS[2]])
    assert ZeroSearchEnv(short, ScriptedEngine({}), **settings).questions is short
    # Such a set cannot be visited; its overlong question is an error of the episode.
    endless = ZeroSearchEnv(Lazy(QUESTIONS, length=2**31), ScriptedEngine({}), **settings)
    assert endless.num_questions == 2**31
    endless.reset(options={"question_index": 4})
    with pytest.raises(ValueError, match="max_prompt_chars=18"):
        endless.reset(options={"question_index": 5})


def test_a_subset_is_checked_when_the_environment_is_made(tmp_path):
    write_questions(tmp_path / "q.jsonl", 5, 40, 7)
    file = {"kind": "file", "path": str(tmp_path / "q.jsonl")}
    rules = {"engine": {"kind": "none"}, "prompt": "bare", "limits": LIMITS}
    with pytest.raises(ValueError, match=r"1 of 2 questions .*'q40'"):
        make_env({"kind": "subset", "of": file, "ids": ["q7", "q40"]}, **rules)
    assert make_env({"kind": "subset", "of": file, "ids": ["q7", "q5"]}, **rules).num_questions == 2


def write_questions(path, *lengths):
    rows = [{"id": f"q{n}", "question": "w" * n, "answers": ["a"]} for n in lengths]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


SKIP = ["--overlong-prompts", "skip"]
NO_ENGINE = ["--engine", "none"]


def last_error(capsys):
    return " ".join(capsys.readouterr().err.split())


def test_questions_of_ask_are_refused_or_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path / "q.jsonl", 5, 20_000, 7)
    ask = ["ask", "--file", "q.jsonl", "--policy", "answer-at-once", *NO_ENGINE]
    assert main(ask) == 2
    assert "1 of 3 questions" in last_error(capsys)
    assert not (tmp_path / "q.jsonl.replies.jsonl").exists()
    assert main([*ask, *SKIP]) == 0
    replies = rows_of(tmp_path / "q.jsonl.replies.jsonl")
    assert [(one["id"], one["question"]) for one in replies] == [("q5", "wwwww"), ("q7", "wwwwwww")]
    assert main(["ask", "w" * 20_000, "--policy", "answer-at-once", *NO_ENGINE]) == 2
    assert "1 of 1 questions" in last_error(capsys)


def test_a_benchmark_checks_all_sets_before_it_plays_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path / "short.jsonl", 5, 7)
    write_questions(tmp_path / "long.jsonl", 6, 20_000)
    sets = ["--sets", "nq=short.jsonl", "mine=long.jsonl", "--output", "out"]
    benchmark = ["benchmark", "--agents", "answer-at-once", *sets, *NO_ENGINE]
    assert main(benchmark) == 2
    assert "1 of 2 questions" in last_error(capsys)
    assert not list(tmp_path.glob("out/evaluations/**/episodes.jsonl"))
    assert main([*benchmark, *SKIP]) == 0
    played = [row["question_id"] for row in rows_of(tmp_path / "out" / "results.jsonl")]
    assert sorted(played) == ["q5", "q6", "q7"]


def test_demonstrations_refuse_or_skip_before_the_first_one(tmp_path):
    write_questions(tmp_path / "q.jsonl", 5, 20_000, 7)
    settings = {"questions": (str(tmp_path / "q.jsonl"),), "max_turns": 1}
    with pytest.raises(ValueError, match="1 of 3 questions"):
        next(play_demonstrations(DemonstrationConfig(**settings), seed=0))
    skipping = DemonstrationConfig(**settings, overlong_prompts="skip")
    ids = {played.question.id for played in play_demonstrations(skipping, seed=0)}
    assert ids == {"q5", "q7"}


def test_every_command_that_reads_questions_has_the_same_flags():
    configs = (AskConfig, BenchmarkConfig, DemonstrationConfig, EnvironmentConfig, EvaluateConfig)
    configs += (PlayConfig, SweepConfig, TrainSB3Config, TuneConfig, VerlRowsConfig)
    assert all(issubclass(config, PromptLimits) for config in configs)
    with pytest.raises(ValueError, match="max_prompt_chars must be at least 1"):
        PlayConfig(max_prompt_chars=0)


def test_commands_refuse_or_skip_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(n), "question": "w" * n, "answers": ["a"]} for n in (5, 20_000, 7)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verl = ["verl-rows", "--questions", "q.jsonl", "--output", "rows.jsonl"]
    evaluate = ["evaluate", "--agent", "search-once", "--engine", "none", "--questions", "q.jsonl"]
    for command in (verl, [*evaluate, "--output", "out"]):
        assert main(command) == 2
        assert "1 of 3 questions" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "rows.jsonl").exists() and not list(tmp_path.glob(".rows*"))
    assert main([*verl, "--overlong-prompts", "skip"]) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    assert main([*verl, "--max-prompt-chars", "30000"]) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3
    capsys.readouterr()
    skip = ["--overlong-prompts", "skip", "--output", "out", "--json"]
    assert main([*evaluate, *skip]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
