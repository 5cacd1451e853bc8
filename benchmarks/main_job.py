"""The main job with several seeds, its control, and the other algorithms compared with GRPO.

    python -m benchmarks.main_job [--json] [--output FOLDER] [--only CASE ...] [-- FLAGS]

Every case is a run of `zerosearch train` in its own folder. Finished runs are read and interrupted
runs continue. F1 is compared with that of the oracle agent, gains with those of GRPO. The curves of
the algorithms are plotted into FOLDER.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from agents.llm.trainer.metrics import read_metrics
from benchmarks.report import Row, print_rows
from benchmarks.workers.train_run import ended_run

_CASES: dict[str, tuple[str, ...]] = {
    "grpo": (),
    "seed-1": ("--seed", "1"),
    "seed-2": ("--seed", "2"),
    "shuffled-rewards": ("--control", "shuffled_rewards"),
    "ppo": ("--algorithm", "ppo"),
    "reinforce": ("--algorithm", "reinforce"),
    "reinforce_pp": ("--algorithm", "reinforce_pp"),
}
_ALGORITHMS = ("grpo", "ppo", "reinforce", "reinforce_pp")


def main() -> None:
    """Run the missing cases, then print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--only", nargs="*", choices=_CASES, default=list(_CASES))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("flags", nargs="*", help="for zerosearch train, after --")
    arguments = parser.parse_args()
    results = {}
    for case in arguments.only:
        results[case] = ended_run(arguments.output / case, [*_CASES[case], *arguments.flags])
    algorithms = [name for name in _ALGORITHMS if name in results]
    if algorithms:
        _draw(arguments.output, algorithms)
    print_rows(list(_rows(results)), as_json=arguments.json)


def _rows(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    for case, result in results.items():
        yield Row(case=f"{case}: training", ours=result["train_seconds"], peer=None, unit="s")
        for before, after in zip(result["before"], result["after"], strict=True):
            setting = after["setting"]
            oracle = result["oracle"].get(setting)
            yield Row(case=f"{case}: before, {setting}", ours=before["f1"], peer=oracle, unit="F1")
            yield Row(case=f"{case}: after, {setting}", ours=after["f1"], peer=oracle, unit="F1")
    gains = {case: _gain(result) for case, result in results.items()}
    for case, gain in gains.items():
        yield Row(
            case=f"{case}: gain over all settings", ours=gain, peer=gains.get("grpo"), unit="F1"
        )
    if "grpo" not in results:
        return
    before, after = (results["grpo"][when][0]["structures"] for when in ("before", "after"))
    for structure, score in after.items():
        gain = score["f1"] - before[structure]["f1"]
        yield Row(case=f"grpo: gain on {structure}", ours=gain, peer=None, unit="F1")


def _gain(result: Mapping[str, Any]) -> float:
    pairs = list(zip(result["before"], result["after"], strict=True))
    return sum(after["f1"] - before["f1"] for before, after in pairs) / len(pairs)


def _draw(output: Path, algorithms: Sequence[str]) -> None:
    """Plot held-out F1 and training reward of every algorithm over the steps."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    held_out, rewards = figure.subplots(1, 2, sharey=True)
    for name in algorithms:
        rows = read_metrics(output / name, "evaluation")
        clean = [row for row in rows if row["setting"] == rows[0]["setting"]]
        held_out.plot([row["step"] for row in clean], [row["f1"] for row in clean], label=name)
        steps = read_metrics(output / name, "train")
        rewards.plot([row["step"] for row in steps], [row["reward_mean"] for row in steps])
    held_out.set(title="held-out F1 without noise", xlabel="step", ylim=(0, 1))
    rewards.set(title="training reward, rising noise", xlabel="step")
    held_out.legend(fontsize=8)
    figure.savefig(output / "algorithms.png", dpi=120)


if __name__ == "__main__":
    main()
