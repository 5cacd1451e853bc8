"""A generator that runs vLLM in this process: fastest if one program has the accelerator alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]
except ImportError as error:
    raise ImportError("generator kind 'vllm' needs vLLM; pip install vllm") from error

from zs_env.simulator.generators.base import (
    Completion,
    Output,
    Prompt,
    TextGenerator,
    TextSampling,
    weight_fingerprints,
)
from zs_env.text.paths import expand_home


class VLLMTextGenerator(TextGenerator):
    """Generates with `vllm.LLM`, which batches the prompts.

    Args:
        model: folder or hub name of an instruct model.
        sampling: sampling parameters; the seed is the prompt's.
        settings: further arguments of `vllm.LLM`, such as `dtype` or `max_model_len`.
    """

    in_process = True

    def __init__(
        self,
        model: str | Path,
        *,
        sampling: TextSampling | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.sampling = sampling or TextSampling()
        settings = dict(settings or {})
        folder = expand_home(model)
        self._llm: Any = LLM(model=folder, **settings)
        # Weights of another training may have the same path. A hub name has no files.
        weights = weight_fingerprints(folder)
        digest = f"{model}:{weights}" if weights else str(model)
        self.fingerprint = f"vllm-1:{digest}:{sorted(settings.items())}:{self.sampling}"

    def generate(self, prompts: Sequence[Prompt]) -> list[Output]:
        """Return one completion per prompt."""
        if not prompts:
            return []
        sampling = self.sampling
        outputs = self._llm.chat(
            [prompt.messages() for prompt in prompts],
            [
                SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    frequency_penalty=sampling.frequency_penalty,
                    max_tokens=sampling.max_tokens,
                    seed=prompt.seed & 0x7FFFFFFF,
                )
                for prompt in prompts
            ],
            use_tqdm=False,
        )
        return [_as_completion(output) for output in outputs]


def _as_completion(output: Any) -> Completion:
    (completion,) = output.outputs
    return Completion(
        completion.text,
        len(output.prompt_token_ids),
        len(completion.token_ids),
        cut=completion.finish_reason == "length",
    )
