"""What rollouts and updates of a model of real size cost on one GPU.

    python -m benchmarks.scale [--json] [--device cuda] [--model FOLDER_OR_GGUF]
        [--layers N --hidden N --mlp N --heads N --kv-heads N --vocabulary N]
        [--prompts N] [--members N] [--prompt-ids N] [--turn-ids N] [--page-ids N] [--turns N]
        [--tokens-per-pass N] [--updates N] [--peak-flops F] [--deadline-s S] [--trl-python FILE]
        [--only PART ...]

Of the model of --model (SmolLM2-135M-Instruct is meant), or of one with random weights in a shape
that the flags give, Qwen2.5-1.5B's unless they say otherwise:

- tokens that our generator writes in a second, beside transformers' `generate`;
- a forward and backward pass with logits of action tokens only, beside one with all logits: time,
  memory;
- updates, plain, with gradient_checkpointing, and with compile_layers: tokens of rollouts a second,
  MFU (formula: `update_flops`), peak memory;
- the same update by TRL's GRPOTrainer, where this Python (or --trl-python) has trl and datasets.

Every part compares results first: ids, losses, norms of gradients; a difference beyond rounding
makes it an error without a time. What a part found is printed on standard error at once; a part
that fails, out of memory say, leaves the others alone and makes the exit status 1; one that would
begin after the deadline is left out. Needs torch, transformers, rich, gymnasium (pure Python; the
environment's package imports it), on a GPU triton and a C compiler, for a .gguf file gguf; nothing
is downloaded. The defaults are meant for one GPU of 80 GB and ten minutes; on a CPU try
--layers 2 --hidden 64 --mlp 128 --heads 4 --kv-heads 2 --vocabulary 500 --prompts 2 --members 2
--prompt-ids 20 --turn-ids 4 --page-ids 9 --turns 2 --tokens-per-pass 100 --updates 1.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.report import Row, print_rows
from benchmarks.scale import parts as scale_parts
from benchmarks.scale.job import Job
from benchmarks.scale.update_flops import peak_flops
from benchmarks.scale.workload import Episodes, Shape

Part = Callable[[Job], Iterator[Row]]
# The most important cases come first, in case time runs out.
_PARTS: dict[str, Part] = {
    "update, plain": partial(scale_parts.update, variant="plain"),
    "rollout": scale_parts.rollout,
    "update, compile_layers": partial(scale_parts.update, variant="compile_layers"),
    "TRL": scale_parts.trl_update,
    "head": scale_parts.head,
    "update, gradient_checkpointing": partial(scale_parts.update, variant="gradient_checkpointing"),
}


def main() -> None:
    """Measure a model, part by part."""
    arguments = _arguments()
    began = time.monotonic()
    rows: list[Row] = []
    failed = False
    job = _job(arguments)
    for name in arguments.only or _PARTS:
        part = _PARTS[name]
        if time.monotonic() - began > arguments.deadline_s:
            _tell(f"{name} is left out: past {arguments.deadline_s:g} s")
            continue
        try:
            for row in part(job):
                _tell(f"{row.case}: {row.ours:.4g}, peer {row.peer}, {row.unit}")
                rows.append(row)
        except Exception:  # whatever it is, the other parts are still worth their time
            failed = True
            _tell(f"{name} failed\n{traceback.format_exc(limit=-4)}")
        _give_back()
    print_rows(rows, as_json=arguments.json)
    sys.exit(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", type=Path, help="folder or .gguf file")
    sizes = {
        **{"layers": 28, "hidden": 1536, "mlp": 8960, "heads": 12, "kv-heads": 2},
        **{"vocabulary": 151_936, "prompts": 8, "members": 8, "prompt-ids": 300},
        **{"turn-ids": 64, "page-ids": 400, "turns": 3, "tokens-per-pass": 8192, "updates": 3},
    }
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument(
        "--peak-flops", type=float, help="of the device; known for H100, H200, A100"
    )
    parser.add_argument("--deadline-s", type=float, default=480.0, help="no part begins later")
    parser.add_argument("--trl-python", type=Path, default=scale_parts.with_trl())
    parser.add_argument("--only", nargs="*", choices=_PARTS, metavar="PART", help="of the parts")
    return parser.parse_args()


def _job(arguments: argparse.Namespace) -> Job:
    shape = Shape(
        layers=arguments.layers,
        hidden=arguments.hidden,
        mlp=arguments.mlp,
        heads=arguments.heads,
        kv_heads=arguments.kv_heads,
        vocabulary=arguments.vocabulary,
    )
    given: Path | None = arguments.model
    on_gpu = arguments.device == "cuda"
    device_name = torch.cuda.get_device_name() if on_gpu else "this CPU"
    peak = arguments.peak_flops or peak_flops(device_name)
    if peak is None:
        _tell(f"no MFU: the peak of {device_name} is not known; give --peak-flops")
    return Job(
        name=f"random {shape.layers}x{shape.hidden}" if given is None else given.name,
        source=shape if given is None else given,
        device=arguments.device,
        precision=torch.bfloat16 if on_gpu else torch.float32,
        episodes=Episodes(
            prompts=arguments.prompts,
            members=arguments.members,
            prompt_ids=arguments.prompt_ids,
            turn_ids=arguments.turn_ids,
            page_ids=arguments.page_ids,
            turns=arguments.turns,
        ),
        tokens_per_pass=arguments.tokens_per_pass,
        updates=arguments.updates,
        peak=peak,
        trl_python=arguments.trl_python,
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _give_back() -> None:
    """Free what the last part held, so that the next finds the device as it was."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
