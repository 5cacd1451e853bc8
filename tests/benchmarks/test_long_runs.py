import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.long_runs import CASES, LongRun, draw, read_record, summarize
from benchmarks.workers.train_run import ended_run

HEALTHY = {"reward_mean": 0.4, "entropy": 1.0, "malformed_rate": 0.0, "searches_mean": 2.0}
COLLAPSED = {**HEALTHY, "reward_mean": 0.0, "entropy": 0.01}


def _ended_run(folder: Path, steps: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    rows = [
        {"kind": "evaluation", "step": 0, "setting": "noise 0", "f1": 0.25},
        *({"kind": "train", "step": step, **row} for step, row in enumerate(steps, 1)),
        {"kind": "evaluation", "step": len(steps), "setting": "noise 0", "f1": 0.75},
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    scores = {when: [{"setting": "noise 0", "f1": f1}] for when, f1 in
              (("before", 0.25), ("after", 0.75))}  # fmt: skip
    (folder / "result.json").write_text(json.dumps({"train_seconds": 12.34, **scores}))
    return folder


def _summary(folder: Path) -> LongRun:
    return summarize("grpo-0", folder, ended_run(folder, []))


def test_a_run_is_summarized_by_its_scores_and_curves(tmp_path: Path) -> None:
    run = _summary(_ended_run(tmp_path / "run", [HEALTHY] * 3))
    assert run.before == {"noise 0": 0.25} and run.after == {"noise 0": 0.75}
    assert run.curves["reward_mean"] == [0.4] * 3 and run.curves["kl"] == []
    assert run.seconds == 12.3 and run.collapses == {}


def test_a_collapse_is_reported_once_with_its_step(tmp_path: Path) -> None:
    # Once all of five steps are bad, their mean entropy is below a tenth of its former value.
    steps = [HEALTHY] * 20 + [COLLAPSED] * 8
    run = _summary(_ended_run(tmp_path / "run", steps))
    assert list(run.collapses) == ["25"] and "entropy" in run.collapses["25"]


def test_a_record_that_is_read_holds_what_was_found(tmp_path: Path) -> None:
    run = _summary(_ended_run(tmp_path / "run", [HEALTHY] * 3))
    record = tmp_path / "record.jsonl"
    assert read_record(record) == []
    record.write_text(f"{json.dumps(asdict(run))}\n")
    assert read_record(record) == [run] == [LongRun(**asdict(run))]
    draw([run], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 2 * 3 + 6 * 2
