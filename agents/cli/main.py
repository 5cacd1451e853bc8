"""`zerosearch`: one command, and one module for each of its subcommands.

A subcommand's module is imported when it is chosen, so `zerosearch evaluate` needs no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

import gymnasium

from zs_env.search.types import BudgetExceeded
from zs_env.text.suggestions import unknown_name


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand's `main(argv) -> int` is, and what it does."""

    module: str
    about: str


SUBCOMMANDS: dict[str, Subcommand] = {
    "train": Subcommand("agents.cli.training.train", "train a language model to search"),
    "recipes": Subcommand(
        "agents.cli.training.recipes", "how published systems are trained: train --recipe NAME"
    ),
    "warm-start": Subcommand(
        "agents.cli.training.warm_start", "teach a language model the format from demonstrations"
    ),
    "train-sb3": Subcommand(
        "agents.cli.training.train_sb3", "train a small network with stable-baselines3"
    ),
    "evaluate": Subcommand("agents.cli.evaluation.evaluate", "play an agent and report its scores"),
    "sweep-noise": Subcommand(
        "agents.cli.evaluation.sweep_noise", "play agents under rising noise and compare them"
    ),
    "counterfactuals": Subcommand(
        "agents.cli.evaluation.counterfactuals",
        "flip pages of played episodes one by one, and see what that does to the reward",
    ),
    "benchmark": Subcommand(
        "agents.cli.evaluation.benchmark", "compare agents on the seven question sets"
    ),
    "report": Subcommand("agents.cli.evaluation.report", "write evaluations as one HTML page"),
    "ask": Subcommand("agents.cli.ask", "put a question to an agent"),
    "tune-simulator": Subcommand(
        "agents.cli.training.tune_simulator", "tune a language model to write search pages"
    ),
    "serve-search": Subcommand(
        "agents.cli.serve_search", "answer other frameworks' searches over HTTP"
    ),
    "index": Subcommand("agents.cli.index", "index a passage file, for BM25 or dense"),
    "verl-rows": Subcommand("agents.cli.verl_rows", "write questions as rows for verl"),
    "play": Subcommand("agents.cli.play", "answer questions yourself"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 2 for a wrong command line, 1 for failure."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(version("zerosearch-gym"))
        return 0
    name, *rest = arguments
    try:
        if name not in SUBCOMMANDS:
            raise unknown_name("subcommand", name, SUBCOMMANDS)
        return import_module(SUBCOMMANDS[name].module).main(rest) or 0
    except (BudgetExceeded, FloatingPointError, ConnectionError) as error:
        print(f"zerosearch: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, gymnasium.error.Error) as error:
        # What a user can put right is said without a traceback.
        print(f"zerosearch: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        print(f"zerosearch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zerosearch: interrupted", file=sys.stderr)
        return 130


def _usage() -> str:
    lines = [f"  {name:<15} {subcommand.about}" for name, subcommand in SUBCOMMANDS.items()]
    return "\n".join(
        ["usage: zerosearch SUBCOMMAND [FLAGS]", "", *lines, "", "Each has a --help of its own."]
    )
