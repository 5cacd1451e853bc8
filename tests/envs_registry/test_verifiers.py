"""The contract with verifiers, kept where it is installed: in an environment of its own."""

import subprocess

import pytest

from tests.paths import ROOT

CONTRACTS = {
    ".venv-verifiers": "verifiers_contract.py",
    ".venv-verifiers-v0": "verifiers_v0_contract.py",
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", CONTRACTS)
def test_the_contract_with_verifiers_holds(environment):
    folder = ROOT / environment
    if not (folder / "installed").exists():
        pytest.skip("verifiers' environment is not there; make verifiers-environment")
    command = [folder / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-o", "filterwarnings=default"]
    command += [f"tests/envs_registry/{CONTRACTS[environment]}"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-1000:]
    assert " passed" in finished.stdout
