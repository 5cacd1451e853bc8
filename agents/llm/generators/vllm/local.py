"""The generator on vLLM's engine in this process.

It needs vllm and a device with memory for both the engine and the trainer. vLLM requires exact
versions of torch and transformers: install it first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from agents.llm.generators.base import GenerationError, GenerationRequest
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.turns import VLLMGeneratorBase
from agents.llm.policy.lora import merged_weights
from agents.llm.policy.policy import Policy


class VLLMGenerator(VLLMGeneratorBase):
    """Generates with `vllm.LLM`.

    Sets VLLM_ENABLE_V1_MULTIPROCESSING=0: the engine runs in this process, so new weights need no
    transfer between processes.

    Args:
        policy: the policy.
        max_context: longest sequence in tokens, at most the model's own limit.
        settings: further arguments of `vllm.LLM`, such as `gpu_memory_utilization`.

    Attributes:
        llm: vLLM's engine.

    Raises:
        ImportError: if vllm is not installed.
    """

    def __init__(self, policy: Policy, *, max_context: int | None = None, **settings: Any) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        try:
            from vllm import LLM  # type: ignore[import-not-found]
        except ImportError as error:
            raise ImportError(
                'the generator "vllm" needs vllm; pip install "zerosearch-gym[vllm]"'
            ) from error
        longest = min(max_context or policy.max_context, policy.max_context)
        super().__init__(policy, max_context=longest)
        with tempfile.TemporaryDirectory() as folder:
            policy.save_merged(folder)
            self.llm: Any = LLM(
                model=folder,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                max_model_len=self.max_context,
                **{"dtype": str(policy.model.dtype).removeprefix("torch."), **settings},
            )
        self._keys = map(str, count(1))

    def _start(self, request: GenerationRequest, sampling: Sampling) -> str:
        from vllm import SamplingParams  # type: ignore[import-not-found]

        key = next(self._keys)
        self.llm.llm_engine.add_request(
            key,
            {"prompt_token_ids": list(request.token_ids)},
            SamplingParams(**self._sampling_params(request, sampling)),
        )
        return key

    def _advance(self) -> Iterator[tuple[str, list[int], Sequence[float]]]:
        for output in self.llm.llm_engine.step():
            if output.finished and output.request_id in self._open:
                (completion,) = output.outputs
                token_ids = list(completion.token_ids)
                logprobs = [
                    by_id[token_id].logprob
                    for by_id, token_id in zip(completion.logprobs or (), token_ids, strict=True)
                ]
                yield output.request_id, token_ids, logprobs

    def _cancel(self, keys: list[str]) -> None:
        self.llm.llm_engine.abort_request(keys)

    def _send_weights(self) -> None:
        self.llm.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": merged_weights(self.policy.model)}
        )
        if not self.llm.reset_prefix_cache():
            raise GenerationError(
                "vLLM did not reset its prefix cache after new weights; report the version of vllm"
            )
