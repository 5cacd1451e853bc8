"""Evaluation: results, interruption and concurrency."""

import io
import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import gymnasium
import pytest
from rich.console import Console

from agents.agent import Agent
from agents.baselines import AnswerAtOnce, FollowTheHops, RandomWords, SearchOnce
from agents.evaluation import EpisodeResult, Report, evaluate
from agents.evaluation.evaluation_folder import (
    RESULTS_FILE,
    TRANSCRIPTS_FILE,
    EvaluationRecord,
    read_results,
)
from zs_env import Document, Question, SearchError, SearchPage
from zs_env.config.engines import ENGINE_KINDS
from zs_env.simulator import LanguageModelEngine, ScriptedTextGenerator
from zs_env.transcripts.storage import load_transcripts

QUESTIONS = [
    Question(id=f"q{n}", text=f"Who built tower {n}?", answers=(f"Ann {n}",)) for n in range(12)
]


class Shelf:
    """Knows every answer, and fails on every third tower."""

    in_process = True

    def search(self, requests):
        if any(int(request.answers[0].split()[1]) % 3 == 0 for request in requests):
            raise SearchError("fell over")
        return [
            SearchPage((Document(text=f"{request.answers[0]} built it."),)) for request in requests
        ]


class ReadsAloud:
    """Searches, then answers the first two words of the first document."""

    def act(self, observation):
        if not observation["documents"][0]:
            return "<search>it</search>"
        return f"<answer>{' '.join(observation['documents'][0].split()[:2])}</answer>"


def _evaluate(agent: Agent = ReadsAloud(), **settings) -> Report:  # noqa: B008 (stateless)
    settings = {
        "episodes": 12,
        "env_kwargs": {"questions": QUESTIONS, "engine": Shelf()},
    } | settings
    return evaluate(agent, "ZeroSearch-v0", **settings)


def test_failures_are_counted_and_excluded_from_the_means():
    report = _evaluate(concurrency=1)
    assert (report.num_episodes, report.num_failures) == (12, 4)
    assert report.failure_rate.mean == pytest.approx(1 / 3)
    assert report.metrics["f1"].mean == report.metrics["exact_match"].mean == 1.0
    assert report.metrics["turns"].mean == 2.0
    assert report.reasons == {"answer": 8, "failure": 4}


def test_the_observed_noise_and_the_failed_checks_are_reported():
    # Useful or noisy, the page names a builder: no useful document fails, every noisy one leaks.
    def page(prompt):
        words = " ".join(f"w{n}" for n in range(20))
        return "".join(f"Doc {n}: Ann 1 built the tower {n} {words}\n" for n in range(5))

    simulator = LanguageModelEngine(ScriptedTextGenerator(page), "tuned", retries=0)
    report = _evaluate(
        episodes=200,
        noise=0.25,
        env_kwargs={
            "questions": [replace(QUESTIONS[1], id=str(n)) for n in range(200)],
            "engine": simulator,
        },
    )
    # 5 standard deviations of 200 draws at 1/4 are 0.153.
    assert report.noisy_share.mean == pytest.approx(0.25, abs=0.153)
    assert report.failed_checks == {"noisy/leak": 1.0}
    assert "noisy documents" in str(_text(report.table()))
    assert _evaluate(AnswerAtOnce()).noisy_share.mean is None


def _text(table) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_costs_are_those_of_this_call_and_kept_by_session(tmp_path):
    settings = {"output": tmp_path, "agent_name": "x", "fingerprint": "one"}
    first = evaluate(SearchOnce(), episodes=5, **settings)
    second = evaluate(SearchOnce(), episodes=8, **settings)
    evaluate(SearchOnce(), episodes=8, **settings)
    assert (first.costs["searches"], second.costs["searches"]) == (5, 3)
    lines = (tmp_path / "costs.jsonl").read_text().splitlines()
    assert [json.loads(line)["searches"] for line in lines] == [5, 3]


def test_costs_are_reported_live_and_no_engine_is_opened_for_known_episodes(tmp_path):
    counts, found = [], []
    settings = {
        "episodes": 4,
        "concurrency": 1,
        "output": tmp_path,
        "on_costs": lambda costs: counts.append(costs["searches"]),
        "on_start": lambda total, done: found.append((total, done)),
    }
    evaluate(SearchOnce(), "ZeroSearch-v0", **settings)
    assert (counts, found) == ([1, 2, 3, 4], [(4, 0)])
    setting = json.loads((tmp_path / "evaluation.json").read_text())
    # Opening an unknown id would be an error.
    (tmp_path / "evaluation.json").write_text(json.dumps(setting | {"env": "Nowhere-v0"}))
    evaluate(SearchOnce(), "Nowhere-v0", **settings)
    assert (counts, found) == ([1, 2, 3, 4], [(4, 0), (4, 4)])


def test_there_are_no_more_episodes_than_questions():
    assert _evaluate(episodes=99, concurrency=99).num_episodes == 12


@pytest.mark.parametrize("agent", [RandomWords(), SearchOnce(), FollowTheHops()])
def test_results_do_not_depend_on_concurrency(agent):
    reports = [
        evaluate(agent, episodes=30, seed=5, noise=0.5, concurrency=concurrency).to_json()
        for concurrency in (1, 7, 64)
    ]
    assert reports[0] == reports[1] == reports[2]


def test_another_seed_is_another_evaluation():
    first, second = (evaluate(RandomWords(), episodes=30, seed=seed) for seed in (0, 1))
    assert first.metrics != second.metrics


def test_an_agent_that_acts_in_batches_scores_the_same():
    class Batched(SearchOnce):
        def act_batch(self, observations, infos):
            return [super(Batched, self).act(observation) for observation in observations]

        def act(self, observation):
            raise AssertionError("act_batch is there")

    one, many = (
        evaluate(agent, episodes=20, agent_name="x") for agent in (SearchOnce(), Batched())
    )
    assert one.to_json() == many.to_json()


@pytest.mark.parametrize("wrong", [None, b"<answer>x</answer>", ["x"]])
def test_actions_that_are_not_strings_are_refused(wrong):
    class Mute:
        def act(self, observation):
            return wrong

    with pytest.raises(TypeError, match="as a string"):
        _evaluate(Mute())


def test_line_i_of_the_transcripts_is_question_i(tmp_path):
    report = evaluate(RandomWords(), episodes=20, output=tmp_path, concurrency=6)
    transcripts = load_transcripts(tmp_path / TRANSCRIPTS_FILE)
    lines = (tmp_path / RESULTS_FILE).read_text().splitlines()
    results = [EpisodeResult(**json.loads(line)) for line in lines]
    assert [result.index for result in results] == list(range(20))
    assert results == [
        EpisodeResult.from_transcript(index, transcript)
        for index, transcript in enumerate(transcripts)
    ]
    assert report.folder == str(tmp_path)


class Stops:
    """Plays like another agent and stops after a number of actions."""

    def __init__(self, agent, actions):
        self.agent, self.left = agent, actions

    def act_batch(self, observations, infos):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return [self.agent.act(observation) for observation in observations]


@pytest.mark.parametrize("actions", [1, 4, 9])
def test_an_interrupted_evaluation_continues(tmp_path, actions):
    whole = evaluate(FollowTheHops(), episodes=20, noise=0.3, agent_name="x")
    settings = {"episodes": 20, "noise": 0.3, "output": tmp_path, "agent_name": "x"}
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stops(FollowTheHops(), actions), concurrency=4, **settings)
    with open(tmp_path / RESULTS_FILE, "a") as torn:
        torn.write('{"index": ')
    with open(tmp_path / TRANSCRIPTS_FILE, "a") as torn:
        torn.write('{"half a transcr')
    found = []
    again = evaluate(
        FollowTheHops(), concurrency=4, on_start=lambda total, done: found.append(done), **settings
    )
    assert again.metrics == whole.metrics
    assert len(load_transcripts(tmp_path / TRANSCRIPTS_FILE)) == 20
    assert (found[0] > 0) == (actions > 1)


def test_a_killed_evaluation_continues(tmp_path):
    program = """
import os, signal, sys
from agents.baselines import RandomWords
from agents.evaluation import evaluate

class Dies(RandomWords):
    left = int(sys.argv[2])
    def act(self, observation):
        Dies.left -= 1
        if Dies.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observation)

evaluate(Dies(), episodes=30, concurrency=5, output=sys.argv[1], agent_name="x")
"""
    statuses = [
        subprocess.run([sys.executable, "-c", program, tmp_path, str(actions)]).returncode
        for actions in (1, 23, 17, 10_000)
    ]
    assert statuses == [-signal.SIGKILL] * 3 + [0]
    whole = evaluate(RandomWords(), episodes=30, concurrency=3, agent_name="x")
    done = evaluate(RandomWords(), episodes=30, output=tmp_path, agent_name="x")
    assert done.metrics == whole.metrics
    assert len(load_transcripts(tmp_path / TRANSCRIPTS_FILE)) == 30


def test_a_finished_evaluation_is_read_and_can_be_extended(tmp_path):
    first = evaluate(SearchOnce(), episodes=10, output=tmp_path, agent_name="x")
    again = evaluate(Stops(SearchOnce(), 0), episodes=10, output=tmp_path, agent_name="x")
    assert again.to_json() == first.to_json()
    longer = evaluate(SearchOnce(), episodes=15, output=tmp_path, agent_name="x")
    fresh = evaluate(SearchOnce(), episodes=15, agent_name="x")
    assert longer.metrics == fresh.metrics


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"noise": 0.1}, {"agent_name": "y"}, {"fingerprint": "other"}]
)
def test_a_folder_of_another_evaluation_is_refused(tmp_path, change):
    settings = {"episodes": 2, "output": tmp_path, "agent_name": "x", "fingerprint": "one"}
    evaluate(AnswerAtOnce(), **settings)
    with pytest.raises(ValueError, match="another --output"):
        evaluate(AnswerAtOnce(), **(settings | change))


def test_a_result_without_its_transcript_is_played_again(tmp_path):
    evaluate(SearchOnce(), episodes=6, output=tmp_path, agent_name="x")
    path = tmp_path / TRANSCRIPTS_FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    setting = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(EvaluationRecord(tmp_path, setting).results) == 4


class Mends(Shelf):
    """A shelf that fails until it is repaired."""

    broken = True

    def search(self, requests):
        if Mends.broken:
            return super().search(requests)
        return [SearchPage((Document(text=f"{one.answers[0]} built it."),)) for one in requests]


def test_failed_episodes_are_replayed_and_replace_their_lines(tmp_path, monkeypatch):
    path = tmp_path / "questions.jsonl"
    rows = [{"id": one.id, "question": one.text, "answers": one.answers} for one in QUESTIONS]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    monkeypatch.setitem(ENGINE_KINDS, "mends", lambda questions: Mends())
    env_kwargs = {"questions": {"kind": "file", "path": str(path)}, "engine": {"kind": "mends"}}
    played = []

    def run(output="run", **settings):
        played.clear()
        return _evaluate(
            env_kwargs=env_kwargs,
            concurrency=1,
            output=tmp_path / output,
            on_episode=lambda result: played.append(result.index),
            **settings,
        )

    monkeypatch.setattr(Mends, "broken", True)
    first = run(episodes=8)
    assert first.num_failures == 3 and "fell over" in first.common_failure
    monkeypatch.setattr(Mends, "broken", False)
    found = []
    report = run(on_start=lambda *counts: found.append(counts))
    assert played == [0, 3, 6, 8, 9, 10, 11] and found == [(12, 5)]
    assert (report.num_failures, report.common_failure) == (0, None)
    assert report.metrics == run(output="whole").metrics
    for name in (RESULTS_FILE, TRANSCRIPTS_FILE):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not run().num_failures and not played


def _record_two_failures(folder):
    """Write two episodes that a failure ended; returns their result."""
    failed = EpisodeResult(
        index=0, reward=0.0, f1=0.0, exact_match=0.0, cover_match=0.0, searches=1, turns=1,
        malformed=0, reason="failure", failure="down",
    )  # fmt: skip
    with EvaluationRecord.open(folder, {}) as record:
        for index in range(2):
            record.add(replace(failed, index=index), None)
    return failed


def test_episodes_replayed_before_an_interruption_are_kept(tmp_path):
    failed = _record_two_failures(tmp_path)
    with pytest.raises(KeyboardInterrupt), EvaluationRecord.open(tmp_path, {}) as record:
        assert record.missing(3) == [0, 1, 2]
        record.add(replace(failed, index=1, failure=None, reason="answer"), None)
        raise KeyboardInterrupt
    with EvaluationRecord.open(tmp_path, {}) as record:
        assert record.missing(3) == [0, 2]


def test_replayed_episodes_are_written_before_the_end(tmp_path, monkeypatch):
    failed = _record_two_failures(tmp_path)
    monkeypatch.setattr("agents.evaluation.evaluation_folder._WRITE_EVERY_S", 0.0)
    with EvaluationRecord.open(tmp_path, {}) as record:
        record.add(replace(failed, index=1, failure=None, reason="answer"), None)
        assert [one.failure for one in read_results(tmp_path)] == ["down", None]


def test_a_second_process_is_refused(tmp_path):
    refused = pytest.raises(ValueError, match="another process writes")
    with EvaluationRecord.open(tmp_path, {}), refused:
        evaluate(AnswerAtOnce(), episodes=1, output=tmp_path)


def test_unknown_files_are_not_truncated(tmp_path):
    (tmp_path / TRANSCRIPTS_FILE).write_text("mine\n" * 9)
    with pytest.raises(ValueError, match="choose another --output"):
        evaluate(AnswerAtOnce(), episodes=2, output=tmp_path)
    assert (tmp_path / TRANSCRIPTS_FILE).read_text() == "mine\n" * 9


def test_a_changed_data_file_is_another_evaluation(tmp_path):
    path = tmp_path / "questions.jsonl"
    file = {"kind": "file", "path": [str(path)]}
    env_kwargs = {"questions": {"kind": "subset", "of": file, "ids": ["q"]}}
    env_kwargs |= {"engine": {"kind": "none"}}
    settings = {"episodes": 1, "env_kwargs": env_kwargs, "output": tmp_path / "run"}
    row = {"id": "q", "question": "Who?", "answers": ["Ann"]}
    path.write_text(f"{json.dumps(row)}\n")
    evaluate(AnswerAtOnce(), **settings)
    path.write_text(f"{json.dumps(row | {'answers': ['Bob']})}\n")
    with pytest.raises(ValueError, match=r"another evaluation \(files was .*questions.jsonl"):
        evaluate(AnswerAtOnce(), **settings)


def test_results_out_of_order_are_refused(tmp_path):
    result = EpisodeResult(
        index=0, reward=0.0, f1=0.0, exact_match=0.0, cover_match=0.0, searches=0, turns=1,
        malformed=0, reason="answer",
    )  # fmt: skip
    record = EvaluationRecord(tmp_path, {})
    record.add(replace(result, index=1), None)
    assert not record.results  # it waits for episode 0
    (tmp_path / RESULTS_FILE).write_text(f"{json.dumps(asdict(replace(result, index=1)))}\n")
    with pytest.raises(ValueError, match="delete the folder"):
        EvaluationRecord(tmp_path, {})


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"concurrency": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        _evaluate(**wrong)


class CountsDown(gymnasium.Env):
    """A text environment of another package: ends after the requested number of `go`s."""

    observation_space = gymnasium.spaces.Text(20)
    action_space = gymnasium.spaces.Text(20)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 5))
        return str(self.left), {}

    def step(self, action):
        self.left -= action == "go"
        return str(self.left), 0.5, self.left == 0, False, {}


def test_text_environments_of_other_packages_can_be_evaluated(tmp_path):
    class Goes:
        def act(self, observation):
            return "go"

    gymnasium.register("CountsDown-v0", entry_point=CountsDown, disable_env_checker=True)
    try:
        reports = [
            evaluate(Goes(), "CountsDown-v0", episodes=8, concurrency=concurrency, output=folder)
            for concurrency, folder in ((1, None), (3, tmp_path), (8, tmp_path))
        ]
    finally:
        del gymnasium.registry["CountsDown-v0"]
    assert reports[0].metrics == reports[1].metrics == reports[2].metrics
    assert reports[0].reasons == {"terminated": 8}
    metrics = reports[0].metrics
    assert metrics["reward"].mean == pytest.approx(0.5 * (metrics["turns"].mean or 0.0))


def test_an_environment_without_text_actions_is_refused():
    with pytest.raises(ValueError, match=r"actions of Discrete\(2\), expected one that"):
        evaluate(AnswerAtOnce(), "CartPole-v1", episodes=1)


def test_an_id_may_name_the_module_that_registers_it():
    plain, named = (
        evaluate(SearchOnce(), f"{module}ZeroSearch-v0", episodes=3)
        for module in ("", "envs_registry:")
    )
    assert plain.metrics == named.metrics
