"""Supervised fine-tuning of a simulator; the loss counts the tokens of the page only.

It uses `transformers.Trainer`, and PEFT for LoRA.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from agents.llm.learner.allocator import keep_freed_memory
from agents.simulator_tuning.pairs import Pair
from agents.simulator_tuning.tune_config import TuneConfig
from agents.storage.output_folder import ensure_settings
from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.simulator.generators.base import Prompt
from zs_env.simulator.generators.local_transformers import encode_prompt

_IGNORED = -100  # label that Trainer ignores in the loss
_FIXED = ("epochs", "learning_rate", "warmup_steps", "batch_size", "micro_batch_size")
_FIXED += ("max_tokens", "lora_rank", "bf16", "seed")


def tune(
    config: TuneConfig,
    pairs: Sequence[Pair],
    output: Path,
    *,
    on_log: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Tune `config.model` and save it in `output`/model; resumes from the last complete checkpoint.

    `on_log` is called with the step, the number of steps, and the loss.

    Returns:
        `model`: folder of the tuned model in Hugging Face format, with adapters merged; `pairs`:
        number of training pairs; `too_long`: number of pairs skipped as too long; `steps`; `loss`:
        mean over the last tenth of the steps, in nats per token; `seconds`: duration of this call.

    Raises:
        ValueError: if the model is missing, all pairs are too long, or existing checkpoints have
            another model, other settings or other pairs.
        FloatingPointError: if the loss is not finite.
    """
    keep_freed_memory()
    checkpoints, system = output / "checkpoints", config.simulator_prompts().system
    model_name = config.base_model()
    ensure_settings(
        output / "tuning.json",
        _fixed_settings(config, pairs),
        what="tuning",
        files=sorted(checkpoints.glob(f"checkpoint-*/{TRAINER_STATE_NAME}")),
        fresh=config.fresh,
    )
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    encoded = [encode_pair(tokenizer, pair, system) for pair in pairs]
    rows = [row for row in encoded if len(row["input_ids"]) <= config.max_tokens]
    if not rows:
        raise ValueError(
            f"none of {len(encoded)} pairs fits into {config.max_tokens} tokens; raise max_tokens"
        )
    model: Any = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.float32)
    if config.lora_rank:
        model = _with_lora(model, config.lora_rank)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.batch_size // config.micro_batch_size,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        remove_unused_columns=False,
        # Reduces padding; the order still depends on the seed.
        train_sampling_strategy="group_by_length",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=pad_rows,
        callbacks=[_LossCallback(on_log)],
    )
    trainer.pop_callback(PrinterCallback)
    outcome = trainer.train(resume_from_checkpoint=_last_complete(checkpoints))
    tuned: Any = trainer.model
    if config.lora_rank:
        tuned = tuned.merge_and_unload()
    folder, temporary = output / "model", output / "model.tmp"
    tuned.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    # The history covers the sessions before a resume as well.
    losses = [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]
    last = losses[-max(len(losses) // 10, 1) :]
    (output / "losses.json").write_text(json.dumps(losses), encoding="utf-8")
    return {
        "model": str(folder),
        "pairs": len(rows),
        "too_long": len(encoded) - len(rows),
        "steps": outcome.global_step,
        "loss": sum(last) / max(len(last), 1),
        "seconds": float(outcome.metrics.get("train_runtime", 0.0)),
    }


def _fixed_settings(config: TuneConfig, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return everything that determines the tuned weights."""
    digest = blake2b(digest_size=8)
    for pair in pairs:
        digest.update(repr((pair.prompt, pair.completion)).encode("utf-8", "surrogatepass"))
    weights = sorted(Path(config.base_model()).glob("*.safetensors"))
    return {
        "model": config.model,
        "weights": {path.name: file_fingerprint(path) for path in weights},
        "pairs": digest.hexdigest(),
        "system": config.simulator_prompts().system,
        **{name: getattr(config, name) for name in _FIXED},
    }


def _last_complete(checkpoints: Path) -> str | None:
    """Return the newest complete checkpoint; incomplete ones are deleted."""
    while checkpoints.exists() and (found := get_last_checkpoint(str(checkpoints))):
        try:
            # The state is the last file of a checkpoint that is written.
            json.loads((Path(found) / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            shutil.rmtree(found)
        else:
            return found
    return None


def encode_pair(tokenizer: Any, pair: Pair, system: str | None) -> dict[str, list[int]]:
    """Return the ids of prompt, page and end token, and labels for the latter two only."""
    prompt = encode_prompt(tokenizer, Prompt(pair.prompt, system, 0))
    page = tokenizer.encode(pair.completion.rstrip("\n"), add_special_tokens=False)
    page = [*page, tokenizer.eos_token_id]
    return {"input_ids": prompt + page, "labels": [_IGNORED] * len(prompt) + page}


def pad_rows(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad on the right; the mask is made of the lengths, as the pad id may equal the end token."""

    def padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], True, value)

    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": padded(ids, 0),
        "labels": padded([row["labels"] for row in rows], _IGNORED),
        "attention_mask": padded([[1] * len(one) for one in ids], 0),
    }


class _LossCallback(TrainerCallback):
    """Reports losses, and stops a training that has diverged."""

    def __init__(self, on_log: Callable[[int, int, float], None] | None) -> None:
        self._on_log = on_log

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {state.global_step}; lower learning_rate and start "
                f"again from a checkpoint in {args.output_dir}"
            )
        if self._on_log is not None:
            self._on_log(state.global_step, state.max_steps, float(loss))


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError('LoRA needs peft; pip install "zerosearch-gym[tune]"') from error
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)
