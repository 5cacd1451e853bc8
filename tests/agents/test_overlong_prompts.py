"""Questions whose prompt is longer than the limit, found when an environment is made."""

import json
import logging

import pytest

from agents.cli.main import main
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
