"""Evaluations read back: what is whole counts, and nothing on disk changes."""

import pytest

from agents.baselines import SearchOnce
from agents.evaluation import EpisodeResult, evaluate
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.record import RESULTS_FILE, TRANSCRIPTS_FILE, EvaluationRecord
from tests.agents.evaluation.report.recorded import (
    answered,
    malformed,
    record_evaluation,
    record_results,
)


def test_what_was_played_is_read_back(tmp_path):
    report = evaluate(SearchOnce(), episodes=8, output=tmp_path, noise=0.25, agent_name="once")
    evaluation = EvaluationFolder.read(tmp_path)
    assert len(evaluation.results) == report.num_episodes == 8
    assert (evaluation.agent, evaluation.set_name, evaluation.engine_name) == (
        "once",
        "ZeroSearch-v0",
        "",
    )
    for result, transcript in zip(evaluation.results, evaluation.transcripts(), strict=True):
        assert result == EpisodeResult.from_transcript(result.index, transcript)


def test_an_evaluation_that_still_runs_is_read_as_far_as_it_is_whole_and_left_alone(tmp_path):
    record_evaluation(tmp_path, [answered(), malformed()])
    for name in (RESULTS_FILE, TRANSCRIPTS_FILE):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-20])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    evaluation = EvaluationFolder.read(tmp_path)
    assert [result.reason for result in evaluation.results] == ["answer"]
    assert list(evaluation.transcripts()) == [answered()]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_environment_that_keeps_no_transcripts_has_none(tmp_path):
    EvaluationRecord(tmp_path, {"agent": "a", "env": "Text-v0"})
    record_results(tmp_path, [EpisodeResult.from_transcript(0, answered())])
    assert list(EvaluationFolder.read(tmp_path).transcripts()) == [None]


@pytest.mark.parametrize(
    ("questions", "name"),
    [
        ({"kind": "hub", "name": "nq"}, "nq"),
        ({"kind": "subset", "of": {"kind": "hub", "name": "nq"}, "ids": ["a"]}, "nq"),
        ({"kind": "file", "path": "a/hotpotqa.dev.jsonl.gz"}, "hotpotqa.dev"),
        ({"kind": "file", "path": ["a/one.parquet", "two.json"]}, "one + two"),
        ({"kind": "world", "split": "heldout"}, "world heldout"),
    ],
)
def test_a_set_is_called_by_the_questions_that_were_asked_for(tmp_path, questions, name):
    env_kwargs = {"questions": questions, "engine": {"kind": "bm25", "passages": "p.jsonl"}}
    evaluation = EvaluationFolder.read(
        record_evaluation(tmp_path, [answered()], env_kwargs=env_kwargs)
    )
    assert (evaluation.set_name, evaluation.engine_name) == (name, "bm25")


def test_a_folder_of_something_else_and_a_damaged_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="zerosearch evaluate"):
        EvaluationFolder.read(tmp_path)
    record_evaluation(tmp_path, [answered(), answered()])
    results = (tmp_path / RESULTS_FILE).read_text()
    (tmp_path / RESULTS_FILE).write_text(results.replace('"f1"', '"f2"', 1))
    with pytest.raises(ValueError, match=r"line 1.*restore"):
        EvaluationFolder.read(tmp_path)


def test_an_evaluation_may_be_called_otherwise_and_read_in_part(tmp_path):
    record_evaluation(tmp_path, [answered(), malformed()])
    found = EvaluationFolder.read(tmp_path, episodes=1, agent="mine", set_name="towers")
    assert (found.agent, found.set_name, len(found.results)) == ("mine", "towers", 1)
    assert list(found.transcripts()) == [answered()]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_setting_is_named(tmp_path, text):
    record_evaluation(tmp_path, [answered()])
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=r"evaluation.json is not a JSON object"):
        EvaluationFolder.read(tmp_path)


def test_fewer_transcripts_than_results_are_no_evaluation(tmp_path):
    record_evaluation(tmp_path, [answered(), answered()])
    record_results(tmp_path, [EpisodeResult.from_transcript(2, answered())])
    with pytest.raises(ValueError, match="2 transcripts for 3 results"):
        list(EvaluationFolder.read(tmp_path).transcripts())
