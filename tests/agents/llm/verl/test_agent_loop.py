"""The contract with verl, kept where verl is installed: it pins much, so it has its own Python."""

import pytest

from tests.contracts import run_contract
from tests.paths import ROOT

ENVIRONMENT = ROOT / ".venv-verl"


@pytest.mark.slow
@pytest.mark.skipif(
    not (ENVIRONMENT / "installed").exists(),
    reason="verl's environment is not there; make verl-environment",
)
def test_the_contract_with_verl_holds():
    run_contract(ENVIRONMENT, "tests/agents/llm/verl/verl_contract.py", timeout_s=900)
