"""Supervised fine-tuning of a simulator; the loss counts the tokens of the page only.

It uses `transformers.Trainer`, and PEFT for LoRA.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
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
from agents.simulator_tuning.tune_config import TuneSettings
from agents.storage.output_folder import ensure_settings
from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.simulator.generators.base import Prompt
from zs_env.simulator.generators.local_transformers import encode_prompt

_IGNORED = -100  # label that Trainer ignores in the loss


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """Result of a tuning.

    Attributes:
        model: folder of the tuned model in Hugging Face format, with adapters merged.
        pairs: number of training pairs.
        too_long: number of pairs skipped as too long.
        steps: number of optimizer steps.
        loss: mean loss over the last tenth of the steps, in nats per token.
        seconds: duration of this call.
    """

    model: str
    pairs: int
    too_long: int
    steps: int
    loss: float
    seconds: float


def tune(
    model_name: str,
    settings: TuneSettings,
    pairs: Sequence[Pair],
    output: Path,
    *,
    system: str | None = "",
    on_log: Callable[[int, int, float], None] | None = None,
) -> TuneResult:
    """Tune a model and save it in `output`/model; resumes from the last complete checkpoint.

    Args:
        model_name: folder or hub name of a causal language model.
        settings: settings of the training.
        pairs: at least one training pair.
        output: folder of checkpoints and model.
        system: system message of the simulator's prompts.
        on_log: called with the step, the number of steps, and the loss.

    Raises:
        ValueError: if all pairs are too long, or existing checkpoints have another model, other
            settings or other pairs.
        FloatingPointError: if the loss is not finite.
    """
    keep_freed_memory()
    checkpoints = output / "checkpoints"
    ensure_settings(
        output / "tuning.json",
        _setting(model_name, settings, pairs, system),
        what="tuning",
        files=sorted(checkpoints.glob(f"checkpoint-*/{TRAINER_STATE_NAME}")),
    )
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    encoded = [encode_pair(tokenizer, pair, system) for pair in pairs]
    rows = [row for row in encoded if len(row["input_ids"]) <= settings.max_tokens]
    if not rows:
        raise ValueError(
            f"none of {len(encoded)} pairs fits into {settings.max_tokens} tokens; raise max_tokens"
        )
    model: Any = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.float32)
    if settings.lora_rank:
        model = _with_lora(model, settings.lora_rank)
    trainer = Trainer(
        model=model,
        args=_training_arguments(settings, checkpoints),
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=pad_rows,
        callbacks=[_LossCallback(on_log)],
    )
    trainer.pop_callback(PrinterCallback)
    outcome = trainer.train(resume_from_checkpoint=_last_complete(checkpoints))
    tuned: Any = trainer.model
    if settings.lora_rank:
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
    return TuneResult(
        model=str(folder),
        pairs=len(rows),
        too_long=len(encoded) - len(rows),
        steps=outcome.global_step,
        loss=sum(last) / max(len(last), 1),
        seconds=float(outcome.metrics.get("train_runtime", 0.0)),
    )


def _setting(
    model: str, settings: TuneSettings, pairs: Sequence[Pair], system: str | None
) -> dict[str, Any]:
    """Return everything that determines the tuned weights."""
    digest = blake2b(digest_size=8)
    for pair in pairs:
        digest.update(repr((pair.prompt, pair.completion)).encode("utf-8", "surrogatepass"))
    own = {field.name: getattr(settings, field.name) for field in fields(TuneSettings)}
    del own["save_steps"]
    weights = sorted(Path(model).glob("*.safetensors"))
    return {
        "model": model,
        "weights": {path.name: file_fingerprint(path) for path in weights},
        "pairs": digest.hexdigest(),
        "system": system,
        **own,
    }


def _last_complete(checkpoints: Path) -> str | None:
    """Return the newest complete checkpoint; incomplete ones are deleted."""
    found = get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None
    while found is not None:
        state = Path(found) / TRAINER_STATE_NAME  # the last file of a checkpoint
        try:
            json.loads(state.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            shutil.rmtree(found)
            found = get_last_checkpoint(str(checkpoints))
        else:
            return found
    return None


def _training_arguments(settings: TuneSettings, checkpoints: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.batch_size // settings.micro_batch_size,
        bf16=settings.bf16,
        use_cpu=not torch.cuda.is_available(),
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        remove_unused_columns=False,
        # Reduces padding; the order still depends on the seed.
        train_sampling_strategy="group_by_length",
    )


def encode_pair(tokenizer: Any, pair: Pair, system: str | None) -> dict[str, list[int]]:
    """Return the ids of prompt, page and end token, and labels for the latter two only."""
    prompt = encode_prompt(tokenizer, Prompt(pair.prompt, system, 0))
    page = tokenizer.encode(pair.completion.rstrip("\n"), add_special_tokens=False)
    page = [*page, tokenizer.eos_token_id]
    return {"input_ids": prompt + page, "labels": [_IGNORED] * len(prompt) + page}


def pad_rows(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad ids with 0 and labels with the ignored label, on the right.

    The mask is made from the lengths, because the pad id may equal the end token.
    """
    width = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

    mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": padded("input_ids", 0),
        "labels": padded("labels", _IGNORED),
        "attention_mask": torch.tensor(mask),
    }


class _LossCallback(TrainerCallback):
    """Reports losses, and stops a training that has diverged."""

    def __init__(self, on_log: Callable[[int, int, float], None] | None) -> None:
        self._on_log = on_log

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        loss = float(loss)
        if loss != loss or loss == float("inf"):
            raise FloatingPointError(
                f"the loss is {loss} at step {state.global_step}; lower learning_rate and start "
                f"again from a checkpoint in {args.output_dir}"
            )
        if self._on_log is not None:
            self._on_log(state.global_step, state.max_steps, loss)


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError('LoRA needs peft; pip install "zerosearch-gym[tune]"') from error
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)
