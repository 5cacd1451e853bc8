"""The contract with OpenEnv, kept where OpenEnv is installed: it has an environment of its own."""

import pytest

from tests.contracts import run_contract
from tests.envs_registry.openenv_server import serve
from tests.paths import ROOT

ENVIRONMENT = ROOT / ".venv-openenv"
PYTHON = ENVIRONMENT / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ENVIRONMENT / "installed").exists(),
        reason="OpenEnv's environment is not there; make openenv-environment",
    ),
]


def test_the_contract_with_openenv_holds():
    printed = run_contract(ENVIRONMENT, "tests/envs_registry/openenv_contract.py", timeout_s=600)
    assert "skipped" not in printed


def test_the_web_interface_plays_an_episode_in_chromium(tmp_path):
    from tests.agents.evaluation.report.browser import Browser

    with serve(PYTHON, tmp_path / "log", {"id": "ZeroSearch-v0", "max_turns": 2}, web=True) as url:
        browser = Browser(tmp_path / "profile")
        try:
            browser.driver.get(f"{url}/web/")
            _press(browser, "Reset")
            browser.wait("document.body.innerText.includes('new episode')")
            assert "Question:" in browser.ask("document.querySelector('.oe-result').innerText")
            field = browser.driver.find_element("css selector", "textarea")
            field.send_keys("<answer>Oslo</answer>")
            _press(browser, "Run step")
            browser.wait("document.querySelectorAll('.oe-result').length == 2")
            shown = browser.ask("document.querySelectorAll('.oe-result')[1].innerText").split()
            assert shown[-6:] == ["reward", "0.0", "done", "true", "step", "1"]
        finally:
            browser.driver.quit()


def _press(browser, label):
    button = f"[...document.querySelectorAll('button')].find(e => e.innerText == '{label}')"
    browser.wait(button)
    browser.ask(f"{button}.click()")
