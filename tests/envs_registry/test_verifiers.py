"""The contract with verifiers, kept where it is installed: in an environment of its own."""

import pytest

from tests.contracts import run_contract
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
    run_contract(folder, f"tests/envs_registry/{CONTRACTS[environment]}", timeout_s=580)
