"""A collapse made on purpose: no KL, and a learning rate that rises to sixty times the default."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest

from agents.cli.training.train import main
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.loop import train
from agents.llm.trainer.metrics import read_metrics
from agents.llm.trainer.run_folder import CheckpointStore, load_state
from agents.storage.config_file import settings_of, with_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return TrainConfig.of(
        output=tmp_path_factory.mktemp("collapse") / "run",
        questions='{"kind": "world", "structures": ["chain1"]}',
        real_engine="world",
        steps=14,
        learning_rate=0.02,
        warmup_steps=40,
        lr_schedule="constant",
        noise_start=0.0,
        noise_end=0.0,
        questions_per_step=3,
        group_size=4,
        max_turns=2,
        num_documents=2,
        max_new_tokens=32,
        eval_every=0,
        final_episodes=2,
        checkpoint_every=1,
        eval_noise=(0.0,),
        threads=1,
        tensorboard=False,
        guard="stop",
    )


def _flags(config: TrainConfig) -> Iterator[str]:
    usual = settings_of(TrainConfig())
    for name, value in settings_of(config).items():
        flag = name.replace("_", "-")
        if value == usual[name]:
            continue
        if isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{flag}"
        else:
            yield from (f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,)))


@pytest.fixture(scope="module")
def stopped(config: TrainConfig) -> tuple[int, str]:
    """Exit status and error output of the run."""
    with redirect_stderr(StringIO()) as printed:
        status = main(list(_flags(config)))
    return status, printed.getvalue()


def test_it_ends_a_run_with_a_description(config: TrainConfig, stopped: tuple[int, str]) -> None:
    status, printed = stopped
    assert status == 1
    output = " ".join(printed.split())
    assert re.search(r"mean reward fell from .*; at the same time .* went from", output)
    for part in ("the policy collapses: mean reward fell from", "at the same time", "kl_coef"):
        assert part in output
    rewards = [row["reward_mean"] for row in read_metrics(config.run.output, "train")]
    # Five healthy steps are needed before five bad ones are compared with them.
    assert 10 <= len(rewards) < config.run.steps
    assert sum(rewards[-5:]) < sum(rewards[:5]) / 2


def test_a_run_goes_back_and_on_to_its_end_with_half_the_learning_rate(
    config: TrainConfig, stopped: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The steps before the collapse are the same with any guard: they are not made again.
    folder = tmp_path / "run"
    shutil.copytree(config.run.output, folder)
    config = with_settings(config, {"guard": "roll_back", "output": folder, "resume": True})
    (folder / config.settings_file).write_text(json.dumps(config.to_json()))
    result = train(config)
    assert result.steps == config.run.steps and not result.stopped
    printed = capsys.readouterr().err
    assert "the policy collapses: mean reward fell" in printed
    assert "rolled back to the policy of" in printed and "learning rate x 0.5" in printed
    latest = CheckpointStore(config.run.output / "checkpoints").latest()
    assert latest is not None and load_state(latest)["run"]["rollbacks"] == 1
    rows = read_metrics(config.run.output, "train")
    assert [row["step"] for row in rows] == list(range(1, config.run.steps + 1))
    # The restored policy is the initial one, so it plays like the first step again.
    found = re.search(r"step (\d+): the policy collapses", printed)
    assert found is not None
    step = int(found[1])
    first, collapsed, restored = (
        [rows[place][name] for name in ("malformed_rate", "answered", "repeated_tokens")]
        for place in (0, step - 1, step)
    )
    assert math.dist(restored, first) < math.dist(collapsed, first)
