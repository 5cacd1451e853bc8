"""`zerosearch tune-simulator STAGE`: collect, judge, build, train, report, or `run` for all.

Progress goes to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import tyro
from rich.console import Console
from rich.table import Table

from agents.cli.flags import require_packages
from agents.evaluation.progress import ProgressBar
from agents.simulator_tuning.stages import STAGES, check_servers
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
    require_packages("tuning a simulator", "tune", *_PACKAGES)
    with folder_lock(config.output):
        # A released data set makes the first two stages unnecessary.
        skipped = ("collect", "judge") if config.released else ()
        stages = [one for one in STAGES if one not in skipped] if stage == "run" else [stage]
        # A server of the tuned model can be started only after the training.
        check_servers(config, *(one for one in stages if one != "report"))
        for name in stages:
            if name == "report":
                check_servers(config, name)
            _CONSOLE.print(f"[bold]{name}[/bold]")
            with ProgressBar(_CONSOLE, name) as bar:
                summary = STAGES[name](config, bar)
            _CONSOLE.print(summary if isinstance(summary, Table) else json.dumps(summary, indent=2))
    if config.json and stage in ("report", "run"):
        print((config.output / "report" / "report.json").read_text(encoding="utf-8").strip())
    return 0
