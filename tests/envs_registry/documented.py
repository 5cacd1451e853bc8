"""What README.md and docs/frameworks.md show for a framework; its tests run all of it."""

import re
import shlex

from tests.paths import ROOT

MAX_LINES = 12
SERVER = "http://127.0.0.1:8000"


def sections() -> dict[str, str]:
    """The sections of docs/frameworks.md by their headings."""
    page = (ROOT / "docs/frameworks.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.M | re.S))


def blocks(framework: str, language: str) -> list[str]:
    """The code blocks of a section in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", sections()[framework], re.M | re.S)


def readme_code(framework: str) -> list[str]:
    """The code in the row of a framework in README's table."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {framework} \|.*$", readme, re.M)
    return re.findall(r"`([^`]+)`", row)


def commands(framework: str) -> list[list[str]]:
    """The words of the commands on both pages, that of README first."""
    lines = [code for code in readme_code(framework) if " " in code]
    for block in blocks(framework, "bash"):
        lines += block.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]
