"""The critic: predicts the remaining reward before each action token.

It is a copy of the policy's body with a value head. It shares no trained weight with the policy, so
the value loss never moves the policy.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from agents.llm.learner.batch import MicroBatch
from agents.llm.learner.logprobs import predicting_states


class Critic(nn.Module):
    """Values of the states before action tokens.

    Attributes:
        body: a transformer without a language-model head.
        head: hidden state to value, float32 or wider; initialized to 0, so every value starts at 0.
    """

    def __init__(self, body: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.body = body
        parameter = next(body.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        self.head = nn.Linear(hidden_size, 1, dtype=dtype, device=parameter.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_policy(cls, model: Any) -> Critic:
        """Copy the body of a policy; frozen weights (under an adapter) are shared."""
        frozen = [weight for weight in model.base_model.parameters() if not weight.requires_grad]
        body = copy.deepcopy(model.base_model, {id(weight): weight for weight in frozen})
        return cls(body, model.config.get_text_config().hidden_size)

    def forward(self, micro_batch: MicroBatch) -> Tensor:
        """[A] values before each of the micro-batch's action tokens."""
        states_AD = predicting_states(self.body, micro_batch)
        with torch.autocast(states_AD.device.type, enabled=False):
            return self.head(states_AD.to(self.head.weight.dtype))[:, 0]
