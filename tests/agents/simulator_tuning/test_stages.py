"""The files that the stages of tuning write."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from agents.simulator_tuning import stages
from agents.simulator_tuning.pairs import Pair
from agents.simulator_tuning.tune_config import TuneConfig
from zs_env.simulator import ScriptedTextGenerator


class NoBar:
    """A progress bar that shows nothing."""

    def count(self, what, done, total):
        pass


PAIRS = [
    Pair(
        prompt="p",
        completion="Doc 1: Ada wrote it.\n",
        kind=kind,
        query="who",
        question="Who wrote it?",
        answers=("Ada",),
        question_id="1",
        source="set",
    )
    for kind in ("useful", "noisy")
]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A report of pages that a script writes."""
    (tmp_path / "data").mkdir()
    lines = "".join(json.dumps(asdict(pair)) + "\n" for pair in PAIRS)
    (tmp_path / "data" / "held_out.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(
        stages, "_report_generator", lambda *_: ScriptedTextGenerator(lambda _: "Doc 1: Ada")
    )
    return TuneConfig(output=tmp_path, questions="none", num_documents=1, min_useful=1)


@pytest.mark.parametrize("name", ["report.json", "samples.html"])
def test_an_interrupted_report_leaves_the_files_of_the_last_one(config, monkeypatch, name):
    stages.report(config, NoBar())
    path = config.output / "report" / name
    earlier = path.read_text(encoding="utf-8")
    write = Path.write_text

    def interrupted(path, text, **settings):
        if name not in path.name:
            return write(path, text, **settings)
        write(path, text[:9], **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stages.report(config, NoBar())
    assert path.read_text(encoding="utf-8") == earlier and len(earlier) > 9
    assert {one.name for one in path.parent.iterdir()} >= {"report.json", "samples.html"}
    assert not list(path.parent.glob(".*.tmp"))
