"""Each step occurs once in the metrics, and every line is JSON."""

import json
import sys
import types
from pathlib import Path

import pytest

from agents.llm.trainer.metrics import MetricsLog, read_metrics


def test_rows_are_read_by_kind(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write("train", 1, {"loss": 0.5})
    log.write("evaluation", 1, {"setting": "noise 0.00", "f1": 0.25})
    log.write("train", 2, {"loss": 0.25})
    log.close()
    assert [row["loss"] for row in read_metrics(tmp_path, "train")] == [0.5, 0.25]
    assert read_metrics(tmp_path, "evaluation")[0]["setting"] == "noise 0.00"


def test_resuming_drops_rows_after_the_checkpoint(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write("train", 1, {"loss": 1.0})
    position = log.position()
    log.write("train", 2, {"loss": 2.0})
    log.close()
    with log.path.open("a") as file:
        file.write('{"kind": "train", "step": 3, "lo')  # the process died here
    log = MetricsLog(tmp_path, position=position, step=1, tensorboard=False)
    log.write("train", 2, {"loss": 2.5})
    log.close()
    rows = read_metrics(tmp_path, "train")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 2.5)]


def test_a_file_shorter_than_the_position_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 bytes but the checkpoint counts 9"):
        MetricsLog(tmp_path, position=9, tensorboard=False)


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write("train", 1, {"loss": float("nan"), "grad_norm": float("inf")})
    log.close()
    row = json.loads(log.path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (row["loss"], row["grad_norm"]) == (None, None)


def test_numbers_are_written_to_tensorboard(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write("train", 1, {"loss": 0.5, "note": "words are left out"})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()


def test_a_tracker_gets_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    fake = types.ModuleType("trackio")
    names: list[str] = []
    fake.init = lambda **settings: (  # type: ignore
        calls.append(("init", settings["config"])),
        names.append(settings["name"]),
    )
    fake.log = lambda numbers, step: calls.append((numbers, step))  # type: ignore
    fake.finish = lambda: calls.append(("finish",))  # type: ignore
    monkeypatch.setitem(sys.modules, "trackio", fake)
    log = MetricsLog(tmp_path, tensorboard=False, tracker="trackio", config={"seed": 3})
    log.write("train", 4, {"loss": 0.5})
    log.write("evaluation", 4, {"setting": "noise 0", "f1": 0.7})
    log.write("evaluation", 4, {"setting": "real engine", "f1": 0.6})
    log.close()
    assert calls == [
        ("init", {"seed": 3}),
        ({"train/loss": 0.5}, 4),
        ({"evaluation/noise 0/f1": 0.7}, 4),
        ({"evaluation/real engine/f1": 0.6}, 4),
        ("finish",),
    ]
    # A resumed run keeps its name; a run in another folder of the same name gets another.
    for folder in (tmp_path, tmp_path / "other" / tmp_path.name):
        folder.mkdir(parents=True, exist_ok=True)
        MetricsLog(folder, tensorboard=False, tracker="trackio").close()
    assert names[0] == names[1] != names[2]
    assert all(name.startswith(f"{tmp_path.name}-") for name in names)

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        MetricsLog(tmp_path, tensorboard=False, tracker="wandb")
