"""Settings of the optimizer. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes an optimizer step.

    Attributes:
        learning_rate: peak learning rate of AdamW.
        warmup_steps: steps over which the learning rate rises linearly from 0 to its peak.
        lr_schedule: learning rate after the warm-up; linear and cosine reach 0 at the last step.
        weight_decay: weight decay of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        tokens_per_micro_batch: most tokens, padding included, of one forward and backward pass;
            affects memory and speed, not the gradient.
        gradient_checkpointing: recompute layer activations in the backward pass: much less memory,
            one more forward pass, the same gradient.
        compile_layers: compile each layer with torch.compile, for GPUs; the first update then takes
            a minute or two. Needs a C compiler.
        autocast: compute in bfloat16; weights keep their own precision. "auto" measures once
            whether this is faster on the device: CPUs without bfloat16 instructions are slower.
    """

    learning_rate: float = 1e-6
    warmup_steps: int = 0
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    tokens_per_micro_batch: int = 4096
    gradient_checkpointing: bool = False
    compile_layers: bool = False
    autocast: bool | Literal["auto"] = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "max_grad_norm", "tokens_per_micro_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}; expected 0 or more")
