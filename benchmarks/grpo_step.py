"""How long a whole GRPO step takes, beside TRL's GRPOTrainer: rollout, log-probabilities, update.

    python -m benchmarks.grpo_step [--json] [--model FOLDER] [--questions N] [--group-size N]
        [--max-new-tokens N] [--rows N] [--steps N] [--threads N]

Both play the same environment with the policy that ships with the package, or FOLDER's: the same
questions, groups, pages and bounds on length. Only the draws differ, so what each side sampled and
earned is shown. TRL plays through `rollout_func` with `model.generate`. Each side runs in a fresh
process, in float32; a figure is the median of the steps, the first one left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from agents.llm.policy.location import TINY_POLICY
from benchmarks.peers.peer_venv import run_json, run_peer
from benchmarks.report import Row, print_rows
from benchmarks.trl_parity import trl_python

_TRL_SCRIPT = Path(__file__).parent / "peers" / "trl_step.py"


def main() -> None:
    """Run both sides, print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", type=Path, default=TINY_POLICY, help="folder of the policy")
    parser.add_argument("--questions", type=int, default=8, help="of a step")
    parser.add_argument("--group-size", type=int, default=8, help="episodes of a question")
    parser.add_argument("--max-new-tokens", type=int, default=96, help="longest action")
    parser.add_argument("--rows", type=int, default=32, help="rollouts of TRL's forward pass")
    parser.add_argument("--steps", type=int, default=5, help="that are measured")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    print_json = (arguments := parser.parse_args()).json
    print_rows(list(_measure(arguments)), as_json=print_json)


def _measure(arguments: argparse.Namespace) -> Iterator[Row]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        common = {
            "model": str(arguments.model),
            "questions": arguments.questions,
            "group_size": arguments.group_size,
            "max_new_tokens": arguments.max_new_tokens,
            "steps": 1 + arguments.steps,
            "threads": arguments.threads,
        }
        ours_file, theirs_file = folder / "ours.json", folder / "theirs.json"
        ours_file.write_text(json.dumps(common | _our_settings()))
        theirs_file.write_text(json.dumps(common | {"config": _their_settings(arguments)}))
        ours = run_json([sys.executable, "-m", "benchmarks.workers.learner_step", str(ours_file)])
        if ours is None:
            raise SystemExit("our process failed; see above")
        theirs = run_peer(trl_python(), _TRL_SCRIPT, str(theirs_file))
    cases = {
        "seconds of a step": ("wall_s", "s"),
        "CPU seconds of a step": ("cpu_s", "s"),
        "tokens sampled in a step": ("sampled", "tokens"),
        "mean reward of a step": ("rewards", "F1"),
    }
    for case, (key, unit) in cases.items():
        peer = None if theirs is None else _median(theirs, key)
        yield Row(case=case, ours=_median(ours, key), peer=peer, unit=unit)
    peer = None if theirs is None else theirs["peak_bytes"] / 1e6
    yield Row(case="peak memory", ours=ours["peak_bytes"] / 1e6, peer=peer, unit="MB")


def _median(result: Mapping[str, Any], key: str) -> float:
    return statistics.median(result[key][1:])


def _our_settings() -> dict[str, Any]:
    return {"algorithm": {"algorithm": "dapo"}, "optimizer": {"learning_rate": 1e-6}}


def _their_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    num_rollouts = arguments.questions * arguments.group_size
    rows = min(arguments.rows, num_rollouts)
    return {
        "loss_type": "dapo",
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "beta": 0.0,
        "learning_rate": 1e-6,
        "num_generations": arguments.group_size,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": num_rollouts // rows,
        "max_completion_length": arguments.max_new_tokens,
    }


if __name__ == "__main__":
    main()
