"""How much an update costs, beside TRL's GRPOTrainer on identical rollouts.

    python -m benchmarks.update_step [--json] [--model FOLDER] [--rollouts N] [--rows N]
        [--updates N] [--threads N]

A small model with a vocabulary of 49,152, then the model of FOLDER (SmolLM2-135M is meant), each on
rollouts of two searches' shape: prompt, action, page, action. First both must have the same loss
and gradient; then each runs in a fresh process: CPU seconds of an update (the median, the first one
left out) and the most memory that the process ever held. Both compute in float32 without gradient
checkpointing, with as many rows in a forward pass.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from agents.llm.learner.batch import Batch
from agents.llm.learner.experience import score
from agents.llm.learner.models import LogprobModel
from benchmarks.peers.peer_venv import run_json, run_peer
from benchmarks.report import Row, print_rows
from benchmarks.trl_parity import TOLERANCE, TRL_SCRIPT, trl_python
from benchmarks.workers.rollout_files import from_json

GROUP_SIZE = 4
# Tokens of each part of a rollout; each is drawn from half to one and a half times of it.
PROMPT, TURNS = 150, (60, 250, 60)
_VOCABULARY = 49_152


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What both trainers are given.

    Attributes:
        model: folder.
        groups: rollouts as `rollout_files` writes them.
        rows: of a forward pass.
        updates: that are measured, after one that is not.
        threads: of torch.
    """

    model: Path
    groups: list[list[dict[str, Any]]]
    rows: int
    updates: int
    threads: int


def main() -> None:
    """Compare, then measure, every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", type=Path, help="folder of a model in Hugging Face format")
    parser.add_argument("--rollouts", type=int, default=8, help="a multiple of 4")
    parser.add_argument("--rows", type=int, default=4, help="rollouts of a forward pass")
    parser.add_argument("--updates", type=int, default=5, help="that are measured")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    rows: list[Row] = []
    with TemporaryDirectory() as name:
        small = Path(name) / "small"
        _save_small_model(small)
        if arguments.model is None:
            print("no --model FOLDER: only the small model is measured", file=sys.stderr)
        for model in filter(None, (small, arguments.model)):
            rows += _measure(model, arguments, Path(name))
    print_rows(rows, as_json=arguments.json)


def _measure(model: Path, arguments: argparse.Namespace, folder: Path) -> Iterator[Row]:
    workload = Workload(
        model=model,
        groups=_rollouts(model, arguments.rollouts),
        rows=arguments.rows,
        updates=arguments.updates,
        threads=arguments.threads,
    )
    largest_gap = _gap(workload, folder)
    if largest_gap is not None and not largest_gap <= TOLERANCE:
        raise SystemExit(
            f"{model.name}: loss or gradient differ by {largest_gap:.2g} of the largest entry, "
            f"expected at most {TOLERANCE}; a speed would mean nothing"
        )
    ours, theirs = _both(workload, folder, steps=1 + workload.updates)
    cases = {
        "CPU seconds of an update": (_median_cpu_s, "s"),
        "wall seconds of an update": (_median_wall_s, "s"),
        "peak memory": (_peak_mb, "MB"),
    }
    for case, (figure, unit) in cases.items():
        peer = None if theirs is None else figure(theirs)
        yield Row(case=f"{model.name}: {case}", ours=figure(ours), peer=peer, unit=unit)
    if largest_gap is not None:
        case = f"{model.name}: largest difference of a gradient's entry"
        yield Row(case=case, ours=largest_gap, peer=None, unit="of the largest")


def _median_cpu_s(result: Mapping[str, Any]) -> float:
    return statistics.median(result["cpu_s"][1:])


def _median_wall_s(result: Mapping[str, Any]) -> float:
    return statistics.median(result["wall_s"][1:])


def _peak_mb(result: Mapping[str, Any]) -> float:
    return result["peak_bytes"] / 1e6


def _gap(workload: Workload, folder: Path) -> float | None:
    """The largest difference of a gradient's entry or of the loss; None without TRL."""
    ours, theirs = _both(workload, folder, steps=1, gradients=True)
    if theirs is None:
        return None
    gaps, largest = [0.0], 0.0
    with (
        safe_open(folder / "ours-1.safetensors", "pt") as our_file,
        safe_open(folder / "theirs-1.safetensors", "pt") as their_file,
    ):
        assert set(our_file.keys()) == set(their_file.keys())
        for name in their_file.keys():  # noqa: SIM118
            their = their_file.get_tensor(name)
            gaps.append(float((our_file.get_tensor(name) - their).abs().max()))
            largest = max(largest, float(their.abs().max()))
    return max(max(gaps) / largest, abs(ours["losses"][0] - theirs["losses"][0]))


def _both(
    workload: Workload, folder: Path, *, steps: int, gradients: bool = False
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What the learner's process printed, and TRL's."""
    common = {
        "model": str(workload.model),
        "dtype": "float32",
        "groups": workload.groups,
        "steps": steps,
        "threads": workload.threads,
    }
    jobs = {
        "ours": common | _our_settings(workload),
        "theirs": common | {"config": _their_settings(workload)},
    }
    for side, job in jobs.items():
        if gradients:
            job["gradients"] = str(folder / side)
        (folder / f"{side}.json").write_text(json.dumps([job]))
    ours = run_json(
        [sys.executable, "-m", "benchmarks.workers.learner_update", str(folder / "ours.json")]
    )
    if ours is None:
        raise SystemExit("the learner's process failed; see above")
    theirs = run_peer(trl_python(), TRL_SCRIPT, str(folder / "theirs.json"))
    return ours[0], None if theirs is None else theirs[0]


def _our_settings(workload: Workload) -> dict[str, Any]:
    longest = max(
        len(r["prompt_ids"]) + len(r["completion_ids"]) for group in workload.groups for r in group
    )
    return {
        "algorithm": {
            "algorithm": "dr_grpo",
            "loss_aggregation": "token",
            "recompute_logprobs": False,
        },
        "optimizer": {
            "learning_rate": 1e-6,
            "tokens_per_micro_batch": workload.rows * longest,
        },
    }


def _their_settings(workload: Workload) -> dict[str, Any]:
    num_rollouts = GROUP_SIZE * len(workload.groups)
    return {
        "loss_type": "dapo",
        "scale_rewards": "none",
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "beta": 0.0,
        "learning_rate": 1e-6,
        "max_grad_norm": 1.0,
        "num_generations": GROUP_SIZE,
        "per_device_train_batch_size": workload.rows,
        "gradient_accumulation_steps": num_rollouts // workload.rows,
        "max_completion_length": 2 * sum(TURNS),
    }


def _rollouts(model_folder: Path, number: int) -> list[list[dict[str, Any]]]:
    """Groups of random ids with the log-probabilities that the model gives them."""
    rng = random.Random(0)
    groups = [_group(rng) for _ in range(number // GROUP_SIZE)]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    batch = Batch.from_groups(from_json(groups))
    logprobs_A = score(batch, lambda rows: LogprobModel(model)(rows)[0], 2048)
    given = iter(logprobs_A.tolist())
    for rollout in (rollout for group in groups for rollout in group):
        rollout["logprobs"] = [next(given) if acted else 0.0 for acted in rollout["action_mask"]]
    return groups


def _group(rng: random.Random) -> list[dict[str, Any]]:
    prompt_ids = _ids(rng, PROMPT)
    return [_rollout(rng, prompt_ids, reward) for reward in (1.0, 0.0, 0.25, 0.0)]


def _rollout(rng: random.Random, prompt_ids: Sequence[int], reward: float) -> dict[str, Any]:
    completion_ids, action_mask = [], []
    for index, usual in enumerate(TURNS):
        ids = _ids(rng, usual)
        completion_ids += ids
        action_mask += [1 - index % 2] * len(ids)
    return {
        "prompt_ids": list(prompt_ids),
        "completion_ids": completion_ids,
        "action_mask": action_mask,
        "logprobs": [0.0] * len(completion_ids),
        "reward": reward,
    }


def _ids(rng: random.Random, usual: int) -> list[int]:
    length = round(usual * (0.5 + rng.random()))
    return [rng.randrange(3, _VOCABULARY) for _ in range(length)]


def _save_small_model(folder: Path) -> None:
    """Four layers of 128 under the vocabulary of SmolLM2, all weights random."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(_VOCABULARY)}))
    tokenizer = FastTokenizer(tokenizer_object=words, pad_token="w0", eos_token="w2")
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
