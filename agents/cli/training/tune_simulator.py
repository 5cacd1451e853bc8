"""`zerosearch tune-simulator STAGE`: collect, judge, build, train, report, or `run` for all.

Progress goes to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec

import tyro
from rich.console import Console
from rich.table import Table

from agents.simulator_tuning.stages import STAGES
from agents.simulator_tuning.tune_config import TuneConfig
from agents.storage.output_folder import folder_lock
from zs_env.text.suggestions import unknown_name

_CONSOLE = Console(stderr=True)
_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "matplotlib")


def main(argv: Sequence[str]) -> int:
    """Run one stage or all stages; returns the exit status."""
    stage, *rest = argv or ["--help"]
    if stage in ("-h", "--help"):
        _CONSOLE.print(
            f"usage: zerosearch tune-simulator {{{','.join([*STAGES, 'run'])}}} [FLAGS]\n"
            "All stages accept the same flags; see zerosearch tune-simulator run --help"
        )
        return 0
    if stage != "run" and stage not in STAGES:
        raise unknown_name("stage", stage, [*STAGES, "run"])
    config = tyro.cli(TuneConfig, args=rest, prog=f"zerosearch tune-simulator {stage}")
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f'tuning a simulator needs {", ".join(missing)}: pip install "zerosearch-gym[tune]"'
        )
    with folder_lock(config.output):
        for name in _all_stages(config) if stage == "run" else [stage]:
            _CONSOLE.print(f"[bold]{name}[/bold]")
            summary = STAGES[name](config, lambda text: _CONSOLE.print(text, highlight=False))
            _CONSOLE.print(summary if isinstance(summary, Table) else json.dumps(summary, indent=2))
    if config.json and stage in ("report", "run"):
        print((config.output / "report" / "report.json").read_text(encoding="utf-8").strip())
    return 0


def _all_stages(config: TuneConfig) -> list[str]:
    """Return the stages of `run`; a released data set makes the first two unnecessary."""
    return [name for name in STAGES if not config.released or name not in ("collect", "judge")]
