"""Sweeps are paired and resumable, and other sweeps are refused."""

import json
import signal
import subprocess
import sys

import pytest

from agents.baselines import AnswerAtOnce, FollowTheHops, QuotePage, SearchOnce
from agents.evaluation import evaluate
from agents.evaluation.evaluation_folder import TRANSCRIPTS_FILE
from agents.specs import by_content
from agents.studies.noise.sweep import Cell, cell_folder, run_sweep
from zs_env.transcripts.storage import load_transcripts

WORLD = {"episodes": 25, "seed": 4}


class NeverPlays:
    """Raises an error when it is asked to act."""

    def __init__(self, fingerprint):
        self.fingerprint = fingerprint

    def act(self, observation):
        raise AssertionError("everything was played before")


class Named(SearchOnce):
    fingerprint = "one"


def _figures(cells: list[Cell]):
    return [(cell.agent, cell.noise, cell.evaluation.results) for cell in cells]


def test_a_cell_is_an_evaluation(tmp_path):
    cells = run_sweep({"hops": FollowTheHops}, [0.5, 0.0], tmp_path, **WORLD)
    assert [(cell.agent, cell.noise) for cell in cells] == [("hops", 0.0), ("hops", 0.5)]
    for cell in cells:
        alone = evaluate(FollowTheHops(), episodes=25, seed=4, noise=cell.noise)
        assert cell.report.metrics == alone.metrics
        assert len(cell.evaluation.results) == 25


def test_a_noisy_page_is_noisy_at_every_higher_level(tmp_path):
    run_sweep({"a": SearchOnce, "b": QuotePage}, [0.0, 0.3, 0.6, 1.0], tmp_path, **WORLD)
    useful = {
        (agent, noise): [
            transcript.turns[0].documents[0].useful
            for transcript in load_transcripts(
                cell_folder(tmp_path, agent, noise) / TRANSCRIPTS_FILE
            )
        ]
        for agent in "ab"
        for noise in (0.0, 0.3, 0.6, 1.0)
    }
    assert all(useful["a", 0.0]) and not any(useful["a", 1.0])
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0)):
        pairs = list(zip(useful["a", low], useful["a", high], strict=True))
        assert all(before or not after for before, after in pairs)
        assert any(before and not after for before, after in pairs)
    # Both agents made the same searches and got the same random draws.
    assert all(useful["a", noise] == useful["b", noise] for noise in (0.3, 0.6))


def test_the_observed_noise_counts_documents_and_not_episodes(tmp_path):
    cells = run_sweep({"hops": FollowTheHops, "none": AnswerAtOnce}, [0.0, 0.4], tmp_path, **WORLD)
    noisy = sum(result.noisy_documents for result in cells[1].evaluation.results)
    shown = sum(result.documents for result in cells[1].evaluation.results)
    assert cells[1].observed_noise().mean == pytest.approx(noisy / shown)
    assert cells[0].observed_noise().mean == 0.0
    assert cells[3].observed_noise().mean is None


def test_agents_levels_and_episodes_can_be_added(tmp_path):
    few = {"episodes": 10, "seed": 4}
    first = run_sweep({"a": Named}, [0.0, 1.0], tmp_path, **few)
    again = run_sweep({"a": lambda: NeverPlays("one")}, [0.0, 1.0], tmp_path, **few)
    assert _figures(again) == _figures(first)
    wider = run_sweep({"a": Named, "b": QuotePage}, [0.0, 0.5, 1.0], tmp_path, **WORLD)
    fresh = run_sweep({"a": Named, "b": QuotePage}, [0.0, 0.5, 1.0], tmp_path / "fresh", **WORLD)
    assert _figures(wider) == _figures(fresh)
    # Additional episodes in the folder are ignored.
    assert _figures(run_sweep({"a": Named}, [0.0, 1.0], tmp_path, **few)) == _figures(first)


@pytest.mark.parametrize(
    ("change", "agent"),
    [({"seed": 5}, "a"), ({"env_kwargs": {"max_turns": 3}}, "a"), ({"seed": 5}, "another")],
)
def test_another_sweep_in_the_folder_is_refused(tmp_path, change, agent):
    setting = {"env_kwargs": {}, "episodes": 2, "seed": 4}
    run_sweep({"a": Named}, [0.0, 1.0], tmp_path, **setting)
    with pytest.raises(ValueError, match=r"contains another sweep .* choose another --output"):
        run_sweep({agent: Named}, [0.0, 1.0], tmp_path, **setting | change)


def test_a_changed_agent_is_refused(tmp_path):
    run_sweep({"a": Named}, [0.0, 1.0], tmp_path, **WORLD)
    with pytest.raises(ValueError, match="fingerprint was 'one', now 'two'"):
        run_sweep({"a": lambda: NeverPlays("two")}, [0.0, 1.0], tmp_path, **WORLD)


def test_the_agents_own_prompt_is_used_by_default(tmp_path):
    class Trained(SearchOnce):
        prompt = "bare"

    def prompts(env_kwargs, folder):
        run_sweep({"a": Trained}, [0.0, 1.0], folder, env_kwargs=env_kwargs, episodes=1)
        return {
            transcript.prompt
            for noise in (0.0, 1.0)
            for transcript in load_transcripts(cell_folder(folder, "a", noise) / TRANSCRIPTS_FILE)
        }

    (own,) = prompts({}, tmp_path / "own")
    (asked,) = prompts({"prompt": "Say: {question}"}, tmp_path / "asked")
    assert own.startswith("Question: ") and asked.startswith("Say: ")


@pytest.mark.parametrize("noises", [[], [0.5], [0.5, 0.5], [0.0, 1.1], [0.0, float("nan")]])
def test_invalid_noise_levels_are_refused(tmp_path, noises):
    with pytest.raises(ValueError, match="noise level"):
        run_sweep({"a": Named}, noises, tmp_path, **WORLD)
    assert not any(tmp_path.iterdir())


def test_similar_names_have_different_folders(tmp_path):
    names = ["runs/a", "runs-a", "runs a", "../a", "a"]
    folders = {cell_folder(tmp_path, name, 0.5) for name in names}
    assert len(folders) == len(names)
    assert {folder.parents[1] for folder in folders} == {tmp_path / "cells"}
    assert cell_folder(tmp_path, "a", 0.1) != cell_folder(tmp_path, "a", 0.1 + 1e-12)


def test_a_killed_sweep_continues_without_repeating_or_losing_an_episode(tmp_path):
    program = """
import os, signal, sys
from agents.baselines import RandomWords
from agents.studies.noise.sweep import run_sweep

class Dies(RandomWords):
    fingerprint = "dies"
    left = int(sys.argv[2])
    def act(self, observation):
        Dies.left -= 1
        if Dies.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observation)

agents = {"a": Dies, "b": Dies}
run_sweep(agents, [0.0, 0.5, 1.0], sys.argv[1], episodes=12, concurrency=5)
print(100_000 - Dies.left)
"""

    def run(folder, actions):
        command = [sys.executable, "-c", program, folder, str(actions)]
        return subprocess.run(command, capture_output=True, text=True)

    killed = [run(tmp_path / "killed", actions).returncode for actions in (3, 60, 60)]
    assert killed == [-signal.SIGKILL] * 3
    rest, whole = run(tmp_path / "killed", 100_000), run(tmp_path / "whole", 100_000)
    assert 0 < int(rest.stdout) < int(whole.stdout)
    cells = sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.jsonl")
    )
    assert len(cells) == 3 * 6  # results, transcripts, costs
    for path in cells:
        if path.name != "costs.jsonl":
            assert (tmp_path / "killed" / path).read_bytes() == (
                tmp_path / "whole" / path
            ).read_bytes()


def test_the_settings_are_written_as_json(tmp_path, quoted_world):
    run_sweep({"a": QuotePage}, [0.0, 1.0], tmp_path, env_kwargs=quoted_world)
    kept = json.loads((tmp_path / "sweep.json").read_text())
    assert kept == {"env": "ZeroSearch-v0", "env_kwargs": by_content(quoted_world), "seed": 0}
    assert kept["env_kwargs"] != quoted_world  # the content of the file stands for its path
