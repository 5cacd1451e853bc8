"""The comparison of adapters: its episodes, and that it notices a difference."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.adapters import compare as comparison
from benchmarks.adapters.__main__ import main
from benchmarks.adapters.episodes import (
    Played,
    differences,
    exposed,
    gymnasium_player,
    make_scripts,
)
from benchmarks.adapters.players import ADAPTERS, Adapter


@pytest.fixture(scope="module")
def played():
    with gymnasium_player() as play:
        return [(script, play(script)) for script in make_scripts()]


def test_the_fifty_episodes_end_in_every_way(played):
    ends = Counter(
        "failed" if one.failed else "answer" if one.terminated else "limit" for _, one in played
    )
    assert ends == {"answer": 35, "limit": 10, "failed": 5}
    assert {one.reward for _, one in played} == {None, 0.0, 1.0}
    by_kind = {script.kind: one for script, one in played}
    assert len(by_kind) == 10
    # The prompt, a notice, and the end after the failure.
    assert [bool(text) for text in by_kind["the engine fails"].messages] == [True, True, False]
    assert len(by_kind["text after an action"].messages) == 3
    opened = by_kind["search and open"].messages
    assert len(opened) == 5 and opened[1] != opened[2]
    pages = {message for _, one in played for message in one.messages[1:] if "Doc 1" in message}
    assert len(pages) > 40


def _with(monkeypatch, change):
    @contextmanager
    def player():
        with gymnasium_player() as play:
            yield lambda script: change(play(script))

    monkeypatch.setattr(comparison, "PASSES", 1)
    monkeypatch.setitem(ADAPTERS, "changed", Adapter(package="gymnasium", play=player))
    return comparison.compare("changed")


def test_an_equal_adapter_is_equal_in_all_episodes(monkeypatch):
    row = _with(monkeypatch, lambda played: played)
    assert (row["episodes"], row["equal"], row["different"]) == (50, 50, {})
    assert row["compared"] == {
        "failed": 50, "messages": 50, "reward": 45, "terminated": 50, "truncated": 50,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "different"),
    [
        # An adapter that gives a failed episode the reward 0.
        (lambda one: replace(one, reward=one.reward or 0.0), {"reward": 5}),
        (lambda one: replace(one, failed=False), {"failed": 5}),
        (lambda one: replace(one, messages=one.messages[:-1]), {"messages": 50}),
        (lambda one: replace(one, terminated=True), {"terminated": 15}),
    ],
)
def test_a_difference_is_counted(monkeypatch, change, different):
    row = _with(monkeypatch, change)
    assert row["different"] == different
    assert row["equal"] == 50 - max(different.values())


def test_only_what_an_adapter_exposes_is_compared():
    played = Played(failed=False, reward=1.0)
    assert exposed(played) == ["failed", "reward"]
    assert differences(played, Played(failed=False, reward=1.0, messages=("x",))) == []
    assert differences(played, Played(failed=False, reward=0.5)) == ["reward"]


def test_an_adapter_without_its_framework_is_a_row(monkeypatch, capsys):
    adapter = replace(ADAPTERS["gymnasium"], package="not-installed-anywhere")
    monkeypatch.setitem(ADAPTERS, "absent", adapter)
    monkeypatch.setattr("sys.argv", ["adapters", "absent", "--json"])
    assert main() == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row == {"adapter": "absent", "missing": "not-installed-anywhere is not installed"}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # TRL and transformers warn about their own settings
@pytest.mark.parametrize("name", ["skyrl", "trl", "trl-rollouts"])
def test_an_installed_adapter_plays_the_fifty_episodes(name, monkeypatch):
    package = ADAPTERS[name].package
    pytest.importorskip(package.replace("-", "_"), reason=f"{package} is not installed")
    monkeypatch.setattr(comparison, "PASSES", 1)
    row = comparison.compare(name)
    assert (row["episodes"], row["equal"], row["different"]) == (50, 50, {})
