"""The contract with verifiers, kept where it is installed: in an environment of its own."""

import subprocess

import pytest

from tests.paths import ROOT

ENVIRONMENT = ROOT / ".venv-verifiers"


@pytest.mark.slow
@pytest.mark.skipif(
    not (ENVIRONMENT / "installed").exists(),
    reason="verifiers' environment is not there; make verifiers-environment",
)
def test_the_contract_with_verifiers_holds():
    command = [ENVIRONMENT / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-o", "filterwarnings=default", "tests/envs_registry/verifiers_contract.py"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-1000:]
    assert " passed" in finished.stdout
