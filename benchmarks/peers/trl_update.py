"""TRL's GRPOTrainer on rollouts that are given to it; prints JSON.

    python trl_update.py JOBS.json

Each job names a model's folder, rollouts, fields of GRPOConfig and a number of optimizer steps.
The rollouts reach the trainer through its `rollout_func`, so that it pads, scores, computes
advantages, differentiates and steps as it does with rollouts of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from process_cost import Laps, peak_bytes
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

QUIET = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "logging_strategy": "no",
    "save_strategy": "no",
    "disable_tqdm": True,
    # The same learning rate on every step, and groups in the order in which they were given.
    "lr_scheduler_type": "constant",
    "shuffle_dataset": False,
}


class Trainer(GRPOTrainer):
    """Adds up the losses of each optimizer step's micro-batches."""

    step_loss = 0.0

    def compute_loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().compute_loss(*args, **kwargs)
        self.step_loss += loss.detach().item()
        return loss


class Watch(TrainerCallback):
    """Takes down what every optimizer step did and cost."""

    def __init__(self, gradients: str | None) -> None:
        self.gradients, self.trainer = gradients, None
        self.losses: list[float] = []
        self.grad_norms: list[float] = []
        self.laps = Laps()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.laps.begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.losses.append(self.trainer.step_loss)
        self.trainer.step_loss = 0.0
        given = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        self.grad_norms.append(float(torch.nn.utils.get_total_norm(given)))
        if self.gradients is not None:
            _save_gradients(kwargs["model"], f"{self.gradients}-{len(self.losses)}.safetensors")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.laps.end()


class Replay:
    """A `rollout_func` that hands out rollouts that were made elsewhere."""

    def __init__(self, groups: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        self.rollouts = [rollout for group in groups for rollout in group]

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        assert len(prompts) == len(self.rollouts), (len(prompts), len(self.rollouts))
        return {
            "prompt_ids": [r["prompt_ids"] for r in self.rollouts],
            "completion_ids": [r["completion_ids"] for r in self.rollouts],
            "env_mask": [r["action_mask"] for r in self.rollouts],
            "logprobs": [r["logprobs"] for r in self.rollouts],
            "reward": [r["reward"] for r in self.rollouts],
        }


def given_reward(completions: Sequence[Any], reward: Sequence[float], **kwargs: Any) -> list[float]:
    return list(reward)


def learn(job: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Run the training that a job describes."""
    if "threads" in job:
        torch.set_num_threads(job["threads"])
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype)
    watch = Watch(job.get("gradients"))
    trainer = Trainer(
        model=model,
        args=GRPOConfig(output_dir=folder, max_steps=job["steps"], **(QUIET | job["config"])),
        reward_funcs=[given_reward],
        train_dataset=Dataset.from_dict({"prompt": [str(i) for i in range(len(job["groups"]))]}),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        rollout_func=Replay(job["groups"]),
        callbacks=[watch],
    )
    watch.trainer = trainer
    if trainer.ref_model is not None:
        reference = AutoModelForCausalLM.from_pretrained(job["reference"], dtype=dtype)
        trainer.ref_model.load_state_dict(reference.state_dict())
    if job.get("importance_sampling"):
        _sample_elsewhere(trainer, job["importance_sampling"])
    trainer.train()
    return {
        "losses": watch.losses,
        "grad_norms": watch.grad_norms,
        "cpu_s": watch.laps.cpu_s,
        "wall_s": watch.laps.wall_s,
        # On a GPU what tensors held there; 0 where none was used.
        "peak_bytes": torch.cuda.max_memory_allocated() or peak_bytes(),
    }


def _sample_elsewhere(trainer: Any, settings: Mapping[str, Any]) -> None:
    """Have the trainer take the rollouts for vLLM's: only then does it correct for the sampler."""
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    trainer.vllm_generation = SimpleNamespace(sync_weights=lambda: None)
    trainer._last_loaded_step = -1
    for name, value in settings.items():
        assert hasattr(trainer, name), name
        setattr(trainer, name, value)


def _save_gradients(model: Any, path: str) -> None:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    save_file(gradients, path)


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    jobs = json.loads(Path(sys.argv[1]).read_text())
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps([learn(job, folder) for job in jobs]))


if __name__ == "__main__":
    main()
