"""Arguments of `gymnasium.make`: text as on a command line, numbers of NumPy, and errors."""

import json

import gymnasium
import numpy as np
import pytest

from zs_env import Question, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.engines import ScriptedEngine
from zs_env.search.types import Document

ENGINE = ScriptedEngine(lambda request: (), supports_noise=True)
QUESTIONS = [Question(id=str(n), text=f"Q{n}?", answers=(f"a{n}",)) for n in range(7)]


@pytest.fixture
def files(tmp_path):
    questions, passages = tmp_path / "questions.jsonl", tmp_path / "passages.jsonl"
    questions.write_text('{"question": "Who built the bridge?", "answers": ["Ann Lee"]}\n')
    passages.write_text('{"title": "Bridge", "text": "Ann Lee built the bridge."}\n')
    return questions, passages


@pytest.mark.parametrize("as_text", [str, lambda path: path])
def test_texts_and_paths_mean_files(files, as_text):
    questions, passages = map(as_text, files)
    env = gymnasium.make("ZeroSearch/File-v0", questions=questions, engine=passages)
    observation, _ = env.reset(seed=0)
    assert observation["question"] == "Who built the bridge?"
    documents = env.step("<search>bridge</search>")[0]["documents"]
    assert "Ann Lee built the bridge." in documents[0]


def test_texts_mean_what_they_mean_on_a_command_line(files):
    questions, passages = map(str, files)
    spec = json.dumps({"kind": "bm25", "passages": passages, "k1": 2.0})
    for engine in (spec, "none", {"kind": "cache", "engine": passages}):
        env = gymnasium.make("ZeroSearch/File-v0", questions=questions, engine=engine, noise="0")
        env.reset(seed=0)
        env.step("<search>bridge</search>")
    world = gymnasium.make("ZeroSearch-v0", questions="world", engine="world", noise="0.5")
    assert world.reset(seed=0)[1]["noise_probability"] == 0.5
    vector = gymnasium.make_vec("ZeroSearch/File-v0", 2, questions=questions, engine=passages)
    assert vector.reset(seed=0)[0]["question"] == ("Who built the bridge?",) * 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"questions": "wrold"}, "Did you mean 'world'"),
        ({"questions": '{"path": "x"}'}, 'questions needs a JSON object with a "kind"'),
        ({"questions": '{"kind": '}, "questions is not valid JSON"),
        ({"questions": {"kind": ["world"]}}, "unknown question kind"),
        ({"questions": ["a.jsonl"]}, "first question is a str"),
        ({"questions": [{"question": "a", "answers": ["b"]}]}, "first question is a dict"),
        ({"engine": "wrold"}, "Did you mean 'world'"),
        ({"engine": "[1]"}, 'engine needs a JSON object with a "kind"'),
        ({"noise": "loud"}, "got noise='loud'"),
        ({"noise": {"start": 0.1}}, "needs 'end'"),
        ({"num_documents": "five"}, "num_documents must be"),
        ({"num_documents": 2.5}, "num_documents must be a whole number"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"limits": {"max_action_chars": "x"}}, "max_action_chars"),
        ({"reward": {"terms": {"f1": "x"}}}, "weight of reward term 'f1'"),
    ],
)
def test_wrong_arguments_are_refused_by_make(arguments, match):
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(ValueError, match=match):
            make("ZeroSearch-v0", **arguments)


def test_a_missing_file_is_refused_by_make():
    with pytest.raises(FileNotFoundError, match=r"missing\.jsonl"):
        gymnasium.make("ZeroSearch/File-v0", questions="missing.jsonl", engine="none")


def test_questions_as_text_are_refused_by_the_class():
    with pytest.raises(ValueError, match=r"got 'a\.jsonl' as questions"):
        ZeroSearchEnv("a.jsonl", ENGINE)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [int, np.int64, np.int32, np.float64, np.array])
def test_numbers_of_numpy_give_the_same_episodes(number):
    fraction = np.array if number is np.array else np.float64

    def play(number, fraction):
        env = ZeroSearchEnv(
            QUESTIONS,
            ENGINE,
            max_turns=number(3),
            num_documents=number(2),
            noise={"start": fraction(0.25), "end": fraction(0.5), "total_steps": number(10)},
            engine_timeout_s=5.0,
        )
        options = {
            "question_index": number(3),
            "training_step": number(4),
            "group_seed": number(5),
            "flipped_turn": number(0),
        }
        start = env.reset(seed=number(7), options=options)
        vector = ZeroSearchVectorEnv(number(2), QUESTIONS, ENGINE)
        step = env.step("<search>a</search>")
        return start, step, env.transcript(), vector.reset(seed=number(7))[0]

    played = play(number, fraction)
    assert played == play(int, float)
    json.dumps(played[2].noise_probability)
    json.dumps([played[2].max_turns, played[2].num_documents, played[2].seed])


@pytest.mark.parametrize(
    "options",
    [
        {"question_index": "1"},
        {"question_index": 1.5},
        {"question_index": 7},
        {"training_step": -1},
        {"noise_probability": "0.5"},
        {"noise_probability": None, "flipped_turn": -1},
        {"group_seed": [1]},
    ],
)
def test_wrong_options_are_value_errors(options):
    env = ZeroSearchEnv(QUESTIONS, ENGINE)
    with pytest.raises(ValueError, match="must be"):
        env.reset(options=options)


def test_metadata_of_documents_becomes_json_values():
    metadata = (
        ("score", float("nan")),
        ("rank", np.float32(0.5)),
        ("number", np.int64(3)),
        ("nested", [np.float64("inf"), {"a": np.array(2)}]),
    )
    env = ZeroSearchEnv(
        QUESTIONS, ScriptedEngine({}, default=[Document("x", metadata=metadata)]), num_documents=1
    )
    env.reset(seed=0)
    (document,) = env.step("<search>a</search>")[4]["documents"]
    assert document.metadata == (
        ("score", None),
        ("rank", 0.5),
        ("number", 3),
        ("nested", [None, {"a": 2}]),
    )
    assert document.checks == ("not_finite",)
    json.dumps(document.metadata, allow_nan=False)
