"""How much code `zerosearch train` runs: lines of this project's modules that one run imports.

It trains the tiny policy for one short step in a temporary folder and counts the modules that are
loaded then. Blank lines, comments and docstrings do not count. Takes about 15 seconds.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.cli.main import main as zerosearch
from benchmarks.report import Row, run_benchmark

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("zs_env", "envs_registry", "agents")
_FLAGS = [
    "--steps",
    "1",
    "--questions-per-step",
    "2",
    "--group-size",
    "2",
    "--eval-every",
    "0",
    "--eval-episodes",
    "4",
    "--final-episodes",
    "4",
]
_NOT_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)


def count_code_lines(source: str) -> int:
    """Return the number of lines that hold code: no blank line, comment or docstring."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if ast.get_docstring(node, clean=False) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NOT_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


def measure() -> list[Row]:
    """Run one step and count the lines of each package."""
    quiet = io.StringIO()
    with TemporaryDirectory() as folder, redirect_stdout(quiet), redirect_stderr(quiet):
        status = zerosearch(["train", "--output", str(Path(folder) / "run"), *_FLAGS])
    if status:
        sys.exit(f"zerosearch train {' '.join(_FLAGS)} ended with status {status}")
    files = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in _PACKAGES and module.__file__
    }
    lines = Counter[str]()
    for file in files:
        lines[file.relative_to(ROOT).parts[0]] += count_code_lines(file.read_text("utf-8"))
    rows = [Row(case=name, ours=lines[name], peer=None, unit="lines") for name in sorted(lines)]
    rows.append(Row(case="all packages", ours=lines.total(), peer=None, unit="lines"))
    rows.append(Row(case="modules", ours=len(files), peer=None, unit="modules"))
    return rows


if __name__ == "__main__":
    run_benchmark(__doc__ or "", measure)
