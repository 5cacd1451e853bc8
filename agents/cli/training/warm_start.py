"""`zerosearch warm-start`: has_signal a language model the format from demonstrations.

Progress goes to standard error; standard output carries the one JSON object of `--json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.console import Console

from agents.cli.flags import parse_flags
from agents.llm.sft.config import WarmStartConfig

if TYPE_CHECKING:
    from agents.llm.sft.pipeline import WarmStartResult

_DESCRIPTION = """Teach a language model the format, by supervised training on demonstrations.

A teacher that knows the gold paragraphs plays the questions: it searches, quotes what it reads,
searches again after a page of no use, and answers in the words of a page (on a fictional world's
questions it knows none, and follows every hop). The model learns what the teacher wrote, never what
the pages say. Then train it: zerosearch train --policy OUTPUT with
the same --num-documents, --max-document-chars and --max-turns."""
_STEPS_PER_LINE = 5


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; 1 where training failed."""
    return 0 if run_warm_start(parse_arguments(argv)) else 1


def parse_arguments(argv: Sequence[str]) -> WarmStartConfig:
    """Read flags.

    Raises:
        SystemExit: if a flag is wrong (status 2) or help was asked for (status 0).
    """
    return parse_flags(
        WarmStartConfig, argv, prog="zerosearch warm-start", description=_DESCRIPTION
    )


def run_warm_start(config: WarmStartConfig) -> WarmStartResult | None:
    """Make the warm start and show how it ended; None where it failed, which is said."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f'a warm start needs {", ".join(missing)}: pip install "zerosearch-gym[train]"'
        )
    from agents.llm.sft.pipeline import warm_start

    console = Console(stderr=True)

    def report(step: int, loss: float) -> None:
        if step % _STEPS_PER_LINE == 0:
            console.print(f"step {step + 1}: {loss:.3f} nats a token", highlight=False)

    console.print("making demonstrations …", highlight=False)
    try:
        result = warm_start(config, on_step=report)
    except FloatingPointError as error:
        console.print(f"zerosearch warm-start: {error}", markup=False, highlight=False)
        return None
    console.print(
        f"{result.demonstrations} demonstrations, {result.steps} steps, "
        f"{result.train_seconds:.0f} s; held-out loss {result.loss_before:.3f} → "
        f"{result.loss_after:.3f} nats a token; policy in {result.policy}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if config.json:
        print(json.dumps(asdict(result)), flush=True)
    return result
