"""The learner's loss and gradient beside those of TRL's GRPOTrainer, on identical rollouts.

    python -m benchmarks.trl_parity [--json] [--record FILE]

Every loss type, bound and correction that both have, over two optimizer steps, of which the second
is off-policy. Exits with 1 where any entry of a gradient differs by more than 1e-5 of the largest
one. --record writes TRL's losses and its gradients' fingerprints as the tests read them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from benchmarks.peers.peer_venv import peer_python, run_peer
from benchmarks.report import Row, print_rows
from benchmarks.workers.rollout_files import as_json
from tests.agents.llm.learner.trl_cases import (
    CASES,
    VOCABULARY,
    Step,
    fingerprint,
    make_groups,
    make_model,
    our_steps,
    their_settings,
)

REQUIREMENTS = (
    "torch==2.13.0",
    "trl==1.16.0",
    "transformers==5.23.0",
    "datasets==5.2.0",
    "accelerate==1.15.0",
    "gymnasium==1.4.0",
)
TRL_SCRIPT = Path(__file__).parent / "peers" / "trl_update.py"
TOLERANCE = 1e-5


def main() -> None:
    """Run every case on both sides; compare, and record where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", type=Path, help="file for TRL's figures")
    arguments = parser.parse_args()
    theirs = _their_steps()
    if theirs is None:
        sys.exit("TRL could not be run; see above")
    if arguments.record:
        arguments.record.write_text(_recording(theirs))
    rows = list(_rows(theirs))
    print_rows(rows, as_json=arguments.json)
    sys.exit(any(not row.ours <= TOLERANCE for row in rows))


def trl_python() -> Path | None:
    """A Python with TRL."""
    return peer_python("trl", REQUIREMENTS)


def difference(ours: Step, theirs: Step) -> float:
    """The largest of loss and gradient entries' differences, over the largest entry of theirs.

    The loss has its own measure: of its size, or of 1 where that is smaller.
    """
    largest = max(float(g.abs().max()) for g in theirs.gradients.values())
    gradient = max(
        float((ours.gradients[name] - g).abs().max()) for name, g in theirs.gradients.items()
    )
    return max(gradient / largest, abs(ours.loss - theirs.loss) / max(1.0, abs(theirs.loss)))


def _their_steps() -> dict[str, list[Step]] | None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _save_models(folder)
        (folder / "jobs.json").write_text(json.dumps([_job(name, folder) for name in CASES]))
        results = run_peer(trl_python(), TRL_SCRIPT, str(folder / "jobs.json"))
        if results is None:
            return None
        return {
            name: [
                Step(loss, load_file(folder / f"{name}-{step}.safetensors"))
                for step, loss in enumerate(result["losses"], 1)
            ]
            for name, result in zip(CASES, results, strict=True)
        }


def _job(name: str, folder: Path) -> dict[str, Any]:
    case = CASES[name]
    return {
        "model": str(folder / "model"),
        "reference": str(folder / "reference"),
        "dtype": "float64",
        "groups": as_json(make_groups()),
        "config": their_settings(case),
        "importance_sampling": dict(case.importance_sampling),
        "steps": case.num_steps,
        "gradients": str(folder / name),
    }


def _save_models(folder: Path) -> None:
    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words)), pad_token="w0", eos_token="w1"
    )
    for name in ("model", "reference"):
        make_model(reference=name == "reference").save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _rows(theirs: Mapping[str, list[Step]]) -> Iterator[Row]:
    for name, case in CASES.items():
        for number, (our, their) in enumerate(zip(our_steps(case), theirs[name], strict=True), 1):
            gap = difference(our, their)
            yield Row(case=f"{name}, step {number}", ours=gap, peer=None, unit="of the largest")


def _recording(theirs: Mapping[str, list[Step]]) -> str:
    cases = {
        name: [
            {
                "loss": float(f"{step.loss:.9g}"),
                "gradients": {
                    key: [float(f"{x:.7g}") for x in values]
                    for key, values in fingerprint(step.gradients).items()
                },
            }
            for step in steps
        ]
        for name, steps in theirs.items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(steps)}" for name, steps in cases.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
