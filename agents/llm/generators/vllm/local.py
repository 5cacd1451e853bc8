"""The generator on vLLM's engine in this process.

It needs vllm and a device with memory for both the engine and the trainer. vLLM requires exact
versions of torch and transformers: install it first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agents.llm.generators.base import (
    Generation,
    GenerationError,
    GenerationRequest,
    check_requests,
    never,
)
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
        self._open: dict[str, tuple[GenerationRequest, Sampling]] = {}
        self._full: dict[int, Generation] = {}

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        from vllm import SamplingParams  # type: ignore[import-not-found]

        in_progress = {request.session for request, _ in self._open.values()}
        check_requests(requests, in_progress | self._full.keys())
        for request in requests:
            if self._room(request, sampling) < 1:
                self._full[request.session] = self._context_full(request)
                continue
            self._number += 1
            name = str(self._number)
            self._open[name] = (request, sampling)
            self.llm.llm_engine.add_request(
                name,
                {"prompt_token_ids": list(request.token_ids)},
                SamplingParams(**self._sampling_params(request, sampling)),
            )

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Generate until at least one turn ends.

        Raises:
            GenerationError: if the engine ends a turn without a stop reason.
        """
        ended, self._full = self._full, {}
        while self._open and not ended:
            for output in self.llm.llm_engine.step():
                if output.finished and output.request_id in self._open:
                    request, sampling = self._open.pop(output.request_id)
                    ended[request.session] = self._to_turn(request, sampling, output)
            if should_yield():
                break
        return ended

    def release(self, sessions: Iterable[int]) -> None:
        names = set(sessions)
        for name in names:
            self._known.pop(name, None)
            self._full.pop(name, None)
        cancelled = [key for key, (request, _) in self._open.items() if request.session in names]
        if cancelled:
            self.llm.llm_engine.abort_request(cancelled)
        for key in cancelled:
            del self._open[key]

    def _send_weights(self) -> None:
        self.llm.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": merged_weights(self.policy.model)}
        )
        if not self.llm.reset_prefix_cache():
            raise GenerationError(
                "vLLM did not reset its prefix cache after new weights; report the version of vllm"
            )

    def close(self) -> None:
        """Drop all turns and sessions; the engine keeps its memory."""
        self.release([request.session for request, _ in self._open.values()])
        self._full.clear()
        self._known.clear()

    def _to_turn(self, request: GenerationRequest, sampling: Sampling, output: Any) -> Generation:
        (completion,) = output.outputs
        token_ids = list(completion.token_ids)
        logprobs = [
            by_id[token_id].logprob
            for by_id, token_id in zip(completion.logprobs or (), token_ids, strict=True)
        ]
        return self._generation(request, sampling, token_ids, logprobs)
