"""Every example runs, says what it promises, and needs no extra that it does not name."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.paths import ROOT

EXAMPLES = ROOT / "examples"
# What each must print; an example without a row here fails.
PROMISES = {
    "01_first_loop.py": "Reward 1.00",
    "02_custom_agent.py": "Replaces     F1 0.",
    "03_custom_engine.py": "Reward 0.67",
    "04_rewards.py": "my own              +0.52",  # 2/3 - 0.05 - 0.1
    "trl_grpo.py": "environment_factory  step 3   reward ",
}
# Packages of an extra. Its own code may warn.
NEEDS = {"trl_grpo.py": "trl"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_example_runs(path, tmp_path):
    needed = NEEDS.get(path.name)
    if needed and not find_spec(needed):
        pytest.skip(f"{needed} is not installed; pip install 'zerosearch-gym[{needed}]'")
    finished = subprocess.run(
        [sys.executable, "-W", "default" if needed else "error", path],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    assert PROMISES[path.name] in finished.stdout, finished.stdout


def test_no_example_is_promised_that_is_not_there():
    assert set(PROMISES) == {path.name for path in EXAMPLES.glob("*.py")}
