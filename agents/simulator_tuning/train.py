"""Supervised fine-tuning of a simulator: the page is learnt, the prompt is not.

transformers' Trainer does the work: it resumes, logs and runs on every accelerator, and
completion-only loss is a matter of labels, so a further library would add nothing. PEFT puts LoRA
underneath where it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from agents.llm.allocator import keep_freed_memory
from agents.simulator_tuning.build import Pair
from agents.simulator_tuning.tune_config import TuneSettings
from zs_env.simulator.transformers_writer import encode_prompt
from zs_env.simulator.writer import Prompt

_IGNORED = -100  # what Trainer leaves out of the loss


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """What came of it.

    Attributes:
        model: folder of the tuned model, Hugging Face format, adapters merged.
        pairs: trained on.
        too_long: left out.
        steps: optimizer steps.
        loss: mean of the last tenth of them, nats per token of the pages.
        seconds: of this call.
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
    """Tune a model and save it under `output`/model; goes on from the last checkpoint there.

    Args:
        model_name: causal language model to begin with: a folder or a name on the hub.
        settings: see there.
        pairs: at least one.
        output: for checkpoints and the model.
        system: system message that the simulator will be asked with.
        on_log: called with step, steps in all, and loss.

    Raises:
        ValueError: if no pair is short enough.
        FloatingPointError: if the loss is not finite.
    """
    keep_freed_memory()
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    rows = [encode_pair(tokenizer, pair, system) for pair in pairs]
    short = [row for row in rows if len(row["input_ids"]) <= settings.max_tokens]
    if not short:
        raise ValueError(
            f"none of {len(rows)} pairs fits into {settings.max_tokens} tokens; raise max_tokens"
        )
    model: Any = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.float32)
    if settings.lora_rank:
        model = _with_lora(model, settings.lora_rank)
    arguments = _training_arguments(settings, output)
    log = _Log(on_log)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=short,  # type: ignore[arg-type]
        data_collator=pad_rows,
        callbacks=[log],
    )
    trainer.pop_callback(_printer())
    found = get_last_checkpoint(arguments.output_dir) if (output / "checkpoints").exists() else None
    outcome = trainer.train(resume_from_checkpoint=found)
    tuned: Any = trainer.model
    if settings.lora_rank:
        tuned = tuned.merge_and_unload()
    folder = output / "model"
    tuned.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    losses = [
        float(row["loss"]) for row in trainer.state.log_history if "loss" in row
    ]  # of all sessions
    result = TuneResult(
        model=str(folder),
        pairs=len(short),
        too_long=len(rows) - len(short),
        steps=outcome.global_step,
        loss=sum(last := losses[-max(len(losses) // 10, 1) :]) / max(len(last), 1),
        seconds=float(outcome.metrics.get("train_runtime", 0.0)),
    )
    (output / "losses.json").write_text(json.dumps(losses), encoding="utf-8")
    return result


def _training_arguments(settings: TuneSettings, output: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output / "checkpoints"),
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
        # Little padding in a batch, and still in an order that the seed decides.
        train_sampling_strategy="group_by_length",
    )


def encode_pair(tokenizer: Any, pair: Pair, system: str | None) -> dict[str, list[int]]:
    """Return the ids of prompt, page and end, and labels that count the latter two alone."""
    prompt = encode_prompt(tokenizer, Prompt(pair.prompt, system, 0))
    page = tokenizer.encode(pair.completion.rstrip("\n"), add_special_tokens=False)
    page = [*page, tokenizer.eos_token_id]
    return {"input_ids": prompt + page, "labels": [_IGNORED] * len(prompt) + page}


def pad_rows(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad on the right: ids with 0, labels with what counts for nothing.

    The mask comes from the lengths, because a pad id may be the end's own.
    """
    width = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

    mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": filled("input_ids", 0),
        "labels": filled("labels", _IGNORED),
        "attention_mask": torch.tensor(mask),
    }


class _Log(TrainerCallback):
    """Passes losses on, and ends what has diverged."""

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


def _printer() -> Any:
    from transformers import PrinterCallback

    return PrinterCallback


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError('LoRA needs peft; pip install "zerosearch-gym[tune]"') from error
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)
