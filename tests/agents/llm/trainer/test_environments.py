"""The environments of a run have the engine that its flags, or else its environment id, name."""

import json

import gymnasium
import pytest

from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import held_out_environment, training_environment

WORLD = '{"kind": "world", "seed": 3}'
ROW = {
    "question": "Who built Tal Vey?",
    "answers": ["Ann Lee"],
    "paragraphs": [{"title": "Tal Vey", "text": "Ann Lee built it.", "is_gold": True}],
}


def found(config: TrainConfig, make=training_environment) -> list[str]:
    environment = make(config, 1, None)
    observation, _ = environment.reset(seed=0, options={"noise_probability": 0.0})
    (question,) = observation["question"]
    observation, *_ = environment.step([f"<search>{question}</search>"])
    environment.close()
    return [text for (text,) in observation["documents"] if text]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n", "utf-8")
    return str(path)


def test_other_questions_keep_the_environments_engine(rows):
    assert not found(TrainConfig.of(env="ZeroSearch/NoSearch-v0", questions=WORLD))
    with_paragraphs = TrainConfig.of(
        env="ZeroSearch/Paragraphs-v0", questions=rows, eval_questions=rows
    )
    for make in (training_environment, held_out_environment):
        assert "Ann Lee built it." in found(with_paragraphs, make)[0]


def test_a_world_answers_for_its_own_questions_only(rows):
    assert found(TrainConfig.of(questions=WORLD))
    with pytest.raises((ValueError, gymnasium.error.Error), match="no default engine"):
        found(TrainConfig.of(questions=rows))


def test_a_flag_that_is_no_json_is_called_by_its_name(rows):
    config = TrainConfig.of(env="ZeroSearch/Paragraphs-v0", questions=rows, eval_questions="{")
    with pytest.raises(ValueError, match="--eval-questions is not valid JSON"):
        held_out_environment(config, 1, None)


@pytest.mark.parametrize(
    ("flags", "make", "message"),
    [
        ({}, training_environment, "got --noise-start or --noise-end=0.5"),
        ({}, held_out_environment, "got --noise-end=0.5"),
        ({"noise_end": 0.0}, held_out_environment, "got --eval-noise=0.5"),
    ],
)
def test_noise_that_the_engine_cannot_produce_names_the_flag(flags, make, message):
    config = TrainConfig.of(engine='{"kind": "bm25"}', noise_start=0.0, **flags)
    with pytest.raises(ValueError, match=f"{message}, but the engine 'bm25' cannot return noisy"):
        make(config, 1, None)
