"""An environment whose instances share questions and engine."""

import json

import pytest

from agents.llm.trl import SearchRollouts
from envs_registry.shared_environment import SharedEnvironment, shared_environment
from zs_env.episode import EpisodeConfig

ADAPTIVE = {"id": "ZeroSearch-v0", "noise": {"kind": "adaptive", "start": 0.0, "end": 0.5}}


@pytest.fixture
def questions(tmp_path):
    rows = [
        {"id": str(one), "question": "Who?" * (one + 1), "answers": ["Ann"]} for one in range(9)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def test_prompts_are_checked_once(questions, monkeypatch):
    rendered = []
    prompt_of = EpisodeConfig.prompt_of

    def count(config, question):
        rendered.append(question.id)
        return prompt_of(config, question)

    monkeypatch.setattr(EpisodeConfig, "prompt_of", count)
    spec = {"id": "ZeroSearch/File-v0", "questions": questions, "engine": "none"}
    shared = SharedEnvironment(spec)
    assert len(rendered) == 9
    envs = [shared.make() for _ in range(3)]
    assert len(rendered) == 9
    assert [env.num_questions for env in envs] == [9, 9, 9]


def test_questions_with_long_prompts_are_skipped_in_every_instance(questions):
    spec = {
        "id": "ZeroSearch/File-v0",
        "questions": questions,
        "engine": "none",
        "prompt": "{question}",
        "limits": {"max_prompt_chars": 20, "overlong_prompts": "skip"},
    }
    shared = SharedEnvironment(spec)
    assert [shared.make().num_questions for _ in range(2)] == [5, 5]


def test_noise_that_follows_the_rewards_is_refused():
    with pytest.raises(ValueError, match="give a schedule"):
        shared_environment(json.dumps(ADAPTIVE))
    with pytest.raises(ValueError, match="give a schedule"):
        SearchRollouts(ADAPTIVE)
    assert SharedEnvironment(ADAPTIVE).make().num_questions  # sessions keep their environment
