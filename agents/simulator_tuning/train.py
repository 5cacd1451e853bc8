"""Supervised fine-tuning of a simulator: the page is learnt, the prompt is not.

transformers' Trainer does the work: it resumes, logs and runs on every accelerator, and
completion-only loss is a matter of labels, so a further library would add nothing. PEFT puts LoRA
underneath where it is asked for.
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
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from agents.llm.learner.allocator import keep_freed_memory
from agents.simulator_tuning.build import Pair
from agents.simulator_tuning.tune_config import TuneSettings
from agents.storage.settings_file import ensure_settings
from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.simulator.generators.base import Prompt
from zs_env.simulator.generators.local_transformers import encode_prompt

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
    """Tune a model and save it under `output`/model; goes on from the last whole checkpoint there.

    Args:
        model_name: causal language model to begin with: a folder or a name on the hub.
        settings: see there.
        pairs: at least one.
        output: for checkpoints and the model.
        system: system message that the simulator will be asked with.
        on_log: called with step, steps in all, and loss.

    Raises:
        ValueError: if no pair is short enough, or the checkpoints there are of another model, other
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
    rows = [encode_pair(tokenizer, pair, system) for pair in pairs]
    short = [row for row in rows if len(row["input_ids"]) <= settings.max_tokens]
    if not short:
        raise ValueError(
            f"none of {len(rows)} pairs fits into {settings.max_tokens} tokens; raise max_tokens"
        )
    model: Any = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.float32)
    if settings.lora_rank:
        model = _with_lora(model, settings.lora_rank)
    log = _Log(on_log)
    trainer = Trainer(
        model=model,
        args=_training_arguments(settings, checkpoints),
        train_dataset=short,  # type: ignore[arg-type]
        data_collator=pad_rows,
        callbacks=[log],
    )
    trainer.pop_callback(_printer())
    outcome = trainer.train(resume_from_checkpoint=_last_whole(checkpoints))
    tuned: Any = trainer.model
    if settings.lora_rank:
        tuned = tuned.merge_and_unload()
    folder, beside = output / "model", output / "model.tmp"
    tuned.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)
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


def _setting(
    model: str, settings: TuneSettings, pairs: Sequence[Pair], system: str | None
) -> dict[str, Any]:
    """All that decides the weights at the end."""
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


def _last_whole(checkpoints: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; torn ones are removed."""
    found = get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None
    while found is not None:
        state = Path(found) / TRAINER_STATE_NAME  # which is written last
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
