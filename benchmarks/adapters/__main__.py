"""50 scripted episodes through every adapter, compared with the plain Gymnasium environment.

    python -m benchmarks.adapters [ADAPTER ...] [--python ADAPTER=PATH ...] [--json]

The episodes search, open documents, answer, make malformed turns, reach the turn limit, and meet a
failing engine. The overhead is that of the start of an episode and of its steps, divided by the
steps. Adapters with tools play the valid searches, opens and answers only.
An adapter runs with the Python of `--python`, else that of the folder .venv-ADAPTER, else this one;
the table says so if its framework is not installed there. Exits with 1 if an episode differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.adapters.players import ADAPTERS
from benchmarks.peers.peer_venv import run_json

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Compare the adapters and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER", help=", ".join(ADAPTERS))
    parser.add_argument("--python", action="append", default=[], metavar="ADAPTER=PATH")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if unknown := set(arguments.adapters) - set(ADAPTERS):
        parser.error(f"got the adapters {sorted(unknown)}, expected some of {list(ADAPTERS)}")
    pythons = dict(pair.split("=", 1) for pair in arguments.python)
    rows = [_row(name, pythons.get(name)) for name in arguments.adapters or ADAPTERS]
    if arguments.json:
        print(json.dumps({"rows": rows}))
    else:
        _print_table(rows)
    return int(any(row.get("equal") != row.get("episodes") for row in rows))


def _row(name: str, python: str | None) -> dict[str, Any]:
    """Return the comparison of an adapter, or `{"adapter", "missing": reason}`."""
    own = ROOT / f".venv-{name}" / "bin" / "python"
    python = python or (str(own) if own.exists() else sys.executable)
    package = ADAPTERS[name].package
    installed = f"from importlib.metadata import version; version({package!r})"
    if subprocess.run([python, "-c", installed], capture_output=True).returncode:
        return {"adapter": name, "missing": f"{package} is not installed"}
    row = run_json([python, "-m", "benchmarks.adapters.compare", name])
    if row is None:
        return {"adapter": name, "episodes": 0, "equal": None, "missing": "failed; see stderr"}
    return {"adapter": name, **row, "overhead_ms": row["ms"] - row["gymnasium_ms"]}


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table("adapter", "version", "equal", "compared", "different", "overhead per step")
    for row in rows:
        if "missing" in row:
            table.add_row(row["adapter"], row["missing"])
            continue
        table.add_row(
            row["adapter"],
            row["version"],
            f"{row['equal']} of {row['episodes']}",
            ", ".join(row["compared"]),
            ", ".join(row["different"]) or "-",
            f"{row['overhead_ms']:.2f} ms",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
