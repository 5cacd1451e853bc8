"""The settings of a policy that is trained. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.llm.policy.turn_format import TurnFormat

DType = Literal["float32", "bfloat16", "float64"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The policy that is trained, its turn format, its adapters and its device.

    Attributes:
        policy: "tiny" (part of the package), a Hugging Face name, a folder, or a .gguf file.
        turn_format: how turns are written: "inline" in one assistant message, "chat" with each page
            as a user message of the chat template, or "tools" with searches as function calls and
            pages as tool messages. It is saved with the policy. None for the policy's, or else
            inline.
        lora_rank: rank of LoRA adapters, which are trained instead of the weights of policy and
            critic; 0 trains all weights.
        lora_alpha: scale of LoRA adapters, which are multiplied by alpha / rank.
        dtype: dtype of the weights; adapters are at least float32. Trained bfloat16 weights lose
            small updates: prefer --autocast. float64 is for tests.
        device: device of the policy; "auto" for a GPU if there is one.
    """

    policy: str = "tiny"
    turn_format: TurnFormat | None = None
    lora_rank: int = 0
    lora_alpha: int = 32
    dtype: DType = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank must be at least 0, got {self.lora_rank}")
