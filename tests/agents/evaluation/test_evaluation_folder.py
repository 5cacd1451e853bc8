"""Reading evaluations: complete lines only, without changes on disk."""

import pytest

from agents.baselines import SearchOnce
from agents.evaluation import EpisodeResult, evaluate
from agents.evaluation.evaluation_folder import (
    RESULTS_FILE,
    TRANSCRIPTS_FILE,
    EvaluationFolder,
    EvaluationRecord,
)
from tests.agents.evaluation.report.recorded import (
    answered,
    malformed,
    record_evaluation,
    record_results,
)


def test_an_evaluation_is_read_as_it_was_written(tmp_path):
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


def test_incomplete_lines_are_ignored_and_not_removed(tmp_path):
    record_evaluation(tmp_path, [answered(), malformed()])
    for name in (RESULTS_FILE, TRANSCRIPTS_FILE):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-20])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    evaluation = EvaluationFolder.read(tmp_path)
    assert [result.reason for result in evaluation.results] == ["answer"]
    assert list(evaluation.transcripts()) == [answered()]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_environment_without_transcripts_yields_none(tmp_path):
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
def test_the_name_of_a_set_is_derived_from_its_spec(tmp_path, questions, name):
    env_kwargs = {"questions": questions, "engine": {"kind": "bm25", "passages": "p.jsonl"}}
    evaluation = EvaluationFolder.read(
        record_evaluation(tmp_path, [answered()], env_kwargs=env_kwargs)
    )
    assert (evaluation.set_name, evaluation.engine_name) == (name, "bm25")


def test_other_and_damaged_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="zerosearch evaluate"):
        EvaluationFolder.read(tmp_path)
    record_evaluation(tmp_path, [answered(), answered()])
    results = (tmp_path / RESULTS_FILE).read_text()
    (tmp_path / RESULTS_FILE).write_text(results.replace('"f1"', '"f2"', 1))
    with pytest.raises(ValueError, match=r"line 1.*restore"):
        EvaluationFolder.read(tmp_path)


def test_the_number_of_episodes_can_be_given(tmp_path):
    record_evaluation(tmp_path, [answered(), malformed()])
    found = EvaluationFolder.read(tmp_path, episodes=1)
    assert len(found.results) == 1
    assert list(found.transcripts()) == [answered()]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_settings_are_refused(tmp_path, text):
    record_evaluation(tmp_path, [answered()])
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=r"evaluation.json is not a JSON object"):
        EvaluationFolder.read(tmp_path)


def test_missing_transcripts_are_an_error(tmp_path):
    record_evaluation(tmp_path, [answered(), answered()])
    record_results(tmp_path, [EpisodeResult.from_transcript(2, answered())])
    with pytest.raises(ValueError, match="2 transcripts for 3 results"):
        list(EvaluationFolder.read(tmp_path).transcripts())
