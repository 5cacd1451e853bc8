"""The contract with verl, kept where verl is installed: it pins much, so it has its own Python."""

import os
import subprocess

import pytest

from tests.paths import ROOT

ENVIRONMENT = ROOT / ".venv-verl"


@pytest.mark.slow
@pytest.mark.skipif(
    not (ENVIRONMENT / "installed").exists(),
    reason="verl's environment is not there; make verl-environment",
)
def test_the_contract_with_verl_holds():
    command = [ENVIRONMENT / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider"]
    # verl and Ray warn about missing features of this machine.
    command += ["-o", "filterwarnings=default", "tests/agents/llm/verl/verl_contract.py"]
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-1000:]
    assert " passed" in finished.stdout
