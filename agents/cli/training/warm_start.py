"""`zerosearch warm-start`: teaches a language model the format by supervised training.

Progress goes to standard error; standard output carries the one JSON object of `--json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from agents.cli.flags import parse_flags, require_packages, with_default_output
from agents.evaluation.progress import ProgressBar
from agents.llm.policy.location import find_model
from agents.llm.sft.config import WarmStartConfig
from zs_env.config import check_questions_spec
from zs_env.prompts import PromptTemplate

if TYPE_CHECKING:
    from agents.llm.sft.pipeline import WarmStartResult

_DESCRIPTION = """Teach a language model the format, by supervised training on demonstrations.

A teacher that knows the gold paragraphs plays the questions: it searches, quotes the pages,
searches again after an irrelevant page, and answers in the words of a page. On the questions of a
fictional world it has no gold paragraphs and looks up every hop. The model is trained on the
teacher's text, not on the pages. With --tools search,open it also opens documents whose full text
has what it looks for. Then train it with RL: zerosearch train --policy OUTPUT with the same
--num-documents, --max-document-chars, --max-turns and --tools.

--resume continues an unfinished warm start. --lora-rank trains adapters. torchrun starts several
processes, which share the model (FSDP)."""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; returns 0, or 1 if training failed."""
    return 0 if run_warm_start(parse_arguments(argv)) else 1


def parse_arguments(argv: Sequence[str]) -> WarmStartConfig:
    """Read flags; a `SystemExit` follows a wrong flag (status 2) and --help (status 0)."""
    config = parse_flags(
        WarmStartConfig, argv, prog="zerosearch warm-start", description=_DESCRIPTION
    )
    return with_default_output(config, argv, {})


def run_warm_start(config: WarmStartConfig) -> WarmStartResult | None:
    """Make the warm start and show its result; returns None after an error, which is printed."""
    check_questions_spec(config.demonstrations.question_spec())
    PromptTemplate.of(config.demonstrations.prompt)
    find_model(config.model.policy)
    require_packages("a warm start", "train", "torch", "transformers")
    from agents.llm.distributed.context import RankLostError
    from agents.llm.sft.pipeline import warm_start
    from agents.llm.trainer.run_folder import CheckpointError
    from agents.llm.trainer.setup import open_session

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        with open_session(config.run) as distributed:
            console.quiet = not distributed.is_main
            with ProgressBar(console, "loading the policy") as bar:
                result = warm_start(
                    config,
                    distributed,
                    on_step=lambda step, loss: bar.update(step + 1, f"{loss:.3f} nats per token"),
                    on_progress=bar.count,
                )
    except (CheckpointError, FloatingPointError, RankLostError) as error:
        console.quiet = False
        console.print(f"zerosearch warm-start: {error}")
        return None
    console.print(
        f"{result.demonstrations} demonstrations, {result.steps} steps, "
        f"{result.train_seconds:.0f} s; held-out loss {result.loss_before:.3f} → "
        f"{result.loss_after:.3f} nats per token; policy in {result.policy}",
    )
    if config.run.json and distributed.is_main:
        print(json.dumps(asdict(result)), flush=True)
    return result
