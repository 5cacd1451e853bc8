"""Headless Chromium for tests of pages.

Debian's packages chromium and chromium-driver are enough; without them, tests that import this
module are skipped.
"""

import shutil
import time
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

webdriver = pytest.importorskip("selenium.webdriver")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


class Browser:
    """One Chromium for all tests; queries are JavaScript expressions."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(120)
        self.driver.set_script_timeout(120)

    def open(self, path: Path, *, place: str = "", width: int = 1280, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.get("about:blank")  # so that another place in the same page is a new page
        self.messages()
        self.driver.get(f"{path.as_uri()}{place}")

    def ask(self, script: str, *values):
        return self.driver.execute_script(f"return {script}", *values)

    def wait(self, script: str, *values):
        """Evaluate an expression until it is true, and return its value."""
        end = time.monotonic() + 120
        while not (answer := self.ask(script, *values)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)
        return answer

    def messages(self) -> list[str]:
        """Return the errors of the page since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def filter(self, **values) -> str:
        """Set filters, wait until they are applied, and return the number of shown rows."""
        self.ask("byId('filters').reset()")
        for name, value in values.items():
            field = "checked" if value is True else "value"
            self.ask(f"byId('filter-{name}').{field} = arguments[0]", value)
        self.ask("byId('count').textContent = ''")
        self.ask("byId('filters').dispatchEvent(new Event('input'))")
        return self.wait(
            "/(episode|question)s?$/.test(byId('count').textContent) && byId('count').innerText"
        )

    def questions(self) -> list[str]:
        return self.ask(
            "[...document.querySelectorAll('.episode .question')].map(e => e.innerText)"
        )
