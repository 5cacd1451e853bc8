"""`zerosearch`: the command, with one module for each subcommand.

Only the module of the chosen subcommand is imported, so `zerosearch evaluate` needs no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

import gymnasium

from zs_env.search.types import BudgetExceeded
from zs_env.text.suggestions import unknown_name

# The module in `agents.cli`, which has a function `main(argv) -> int`, and the help text.
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "train": ("training.train", "train a language model to search"),
    "recipes": ("training.recipes", "list published systems, for train --recipe NAME"),
    "warm-start": ("training.warm_start", "fine-tune a language model on demonstrations"),
    "train-sb3": ("training.train_sb3", "train a small network with stable-baselines3"),
    "evaluate": ("evaluation.evaluate", "evaluate an agent and report its scores"),
    "sweep-noise": ("evaluation.sweep_noise", "compare agents at several noise levels"),
    "robustness": ("evaluation.robustness", "compare agents under every kind of noise"),
    "counterfactuals": ("evaluation.counterfactuals", "measure the effect of single pages"),
    "benchmark": ("evaluation.benchmark", "compare agents on the seven question sets"),
    "audit": ("evaluation.audit", "find the questions that a corpus can answer"),
    "report": ("evaluation.report", "write evaluations as one HTML page"),
    "ask": ("ask", "answer a question, or a file of questions"),
    "tune-simulator": ("training.tune_simulator", "fine-tune a language model to write pages"),
    "serve-search": ("serve_search", "serve a search engine over HTTP"),
    "index": ("index", "index a passage file for BM25 or dense retrieval"),
    "sample-data": ("sample_data", "write small data files of every accepted form"),
    "verl-config": ("training.verl_config", "write a configuration of verl for a recipe"),
    "verl-rows": ("verl_rows", "write questions as rows for verl"),
    "play": ("play", "answer questions yourself"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status: 2 for a wrong command line, 1 for a failure."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Text that the terminal cannot encode or decode is escaped instead of an error.
            stream.reconfigure(errors="backslashreplace")
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
        return import_module(f"agents.cli.{SUBCOMMANDS[name][0]}").main(rest) or 0
    except (BudgetExceeded, FloatingPointError, ConnectionError) as error:
        print(f"zerosearch: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, gymnasium.error.Error) as error:
        # Errors that a user can correct are printed without a traceback.
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
    lines = [f"  {name:<15} {about}" for name, (_, about) in SUBCOMMANDS.items()]
    end = "`zerosearch SUBCOMMAND --help` lists the flags of a subcommand."
    return "\n".join(["usage: zerosearch SUBCOMMAND [FLAGS]", "", *lines, "", end])
