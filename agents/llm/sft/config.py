"""Every setting of a warm start. Imports no torch, so that its help answers at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from agents.specs import spec_from_text


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """Teach a language model the format before RL.

    Attributes:
        policy: a Hugging Face name, a folder, or a .gguf file; base or instruct.
        questions: files of questions with gold paragraphs, or one JSON spec of such questions, or
            "world" for a fictional world's.
        output: folder of the finished policy, Hugging Face format; must not exist yet.
        resume: leave a finished warm start in `output` as it is; an unfinished one leaves nothing.
        episodes: demonstrations to train on; fewer where the questions give fewer.
        held_out: further demonstrations, on other questions, that the loss is measured on.
        epochs: passes over the demonstrations.
        steps: optimizer steps, from as many passes as they take; 0 for those of `epochs`.
        learning_rate: peak of AdamW's learning rate; it falls to 0 along a cosine.
        warmup_steps: steps over which the learning rate rises.
        tokens_per_batch: tokens, read and written, of one optimizer step.
        tokens_per_micro_batch: most tokens, padding included, of one forward and backward pass.
        max_grad_norm: gradients are scaled down to this norm.
        max_turns: actions an episode may take; with 1 nothing is searched for, and the teacher
            answers from what it knows.
        num_documents: documents a page.
        max_document_chars: longer documents are cut.
        max_new_tokens: demonstrations with a longer action are left out.
        prompt: a template's name or text; it is kept with the policy, and training uses it.
        max_noise: the chance of noise is drawn per episode from 0 to this.
        autocast: compute in bfloat16, with weights in their own precision.
        dtype: of the weights while training.
        device: "auto" takes a GPU where there is one.
        threads: CPU threads of torch; 0 for one per core.
        seed: of everything that is drawn.
        json: print one JSON object as the last line of standard output.
    """

    policy: str
    questions: tuple[str, ...]
    output: Path
    resume: bool = False
    episodes: int = 400
    held_out: int = 32
    epochs: float = 1.0
    steps: int = 0
    learning_rate: float = 1e-4
    warmup_steps: int = 5
    tokens_per_batch: int = 4096
    tokens_per_micro_batch: int = 2048
    max_grad_norm: float = 1.0

    max_turns: int = 4
    num_documents: int = 3
    max_document_chars: int = 300
    max_new_tokens: int = 56
    prompt: str = "bare"
    max_noise: float = 0.5

    autocast: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("episodes", "held_out", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.epochs > 0:
            raise ValueError(f"epochs must be above 0, got {self.epochs}")
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, got {self.steps}")
        if not 0 <= self.max_noise <= 1:
            raise ValueError(f"max_noise is a probability in [0, 1], got {self.max_noise}")
        if not self.questions:
            raise ValueError("questions names no file; give at least one with gold paragraphs")

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return {**asdict(self), "output": str(self.output), "questions": list(self.questions)}

    def question_spec(self) -> dict[str, Any]:
        """The questions as a spec; several files become one set.

        Raises:
            ValueError: if a spec that is no file stands beside others.
        """
        specs = [spec_from_text(text, role="questions") for text in self.questions]
        if len(specs) == 1:
            return specs[0]
        paths = [spec.get("path") for spec in specs]
        if any(spec["kind"] != "file" for spec in specs):
            raise ValueError(
                f"several questions are several files, got {list(self.questions)}; "
                "give files only, or one JSON spec"
            )
        return {"kind": "file", "path": paths}
