"""A language model as a policy: the model and its tokenizer, loaded and saved together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from agents.llm.policy.location import find_model
from agents.llm.policy.lora import has_adapter, merged_weights, reload_adapter
from agents.llm.policy.text_codec import TextCodec, as_ids
from agents.llm.policy.turn_format import TurnFormat
from zs_env.actions import DEFAULT_TOOLS, Tool, build_tools
from zs_env.text.paths import expand_home

# A folder with an adapter must not have a config.json, or it would be loaded as a full model.
_BESIDE_ADAPTER = "zerosearch.json"
_TURN_FORMAT = "turn_format"
# If a configuration has no limit.
_DEFAULT_CONTEXT = 8192
_DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, eq=False)
class Policy:
    """A causal language model and its tokenizer; `codec` encodes and decodes text.

    Attributes:
        model: any Hugging Face causal language model.
        tokenizer: its tokenizer; its chat template is used if it has one.
        name: name or path that it was loaded from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str = ""

    @property
    def env_settings(self) -> dict[str, Any]:
        """Arguments of the environment that it was trained with, from its config.json."""
        return {name: value for name, value in self._recorded.items() if name != _TURN_FORMAT}

    @property
    def turn_format(self) -> TurnFormat:
        """How its turns are written; "inline" unless it was trained otherwise."""
        return self._recorded.get(_TURN_FORMAT, "inline")

    @property
    def _recorded(self) -> dict[str, Any]:
        """The environment's arguments, and the turn format if it is not "inline"."""
        config: Any = self.model.config
        known = getattr(config, "zerosearch_env", None)
        if known is None and getattr(config, "zerosearch_prompt", None):  # an older checkpoint
            known = {"prompt": config.zerosearch_prompt}
        return known or {}

    def record_env_settings(self, settings: Mapping[str, Any]) -> None:
        """Set `env_settings`; `save` writes them."""
        self._record(settings, self.turn_format)

    def set_turn_format(self, turn_format: TurnFormat) -> None:
        """Set `turn_format`; `save` writes it.

        Raises:
            ValueError: if the chat template does not support it.
        """
        if turn_format != self.turn_format:
            self._record(self.env_settings, turn_format)
        _ = self.codec

    def set_tools(self, tools: Sequence[str]) -> None:
        """Set `tools`, and store them in `env_settings`; `save` writes them."""
        self.record_env_settings({**self.env_settings, "tools": list(build_tools(tools))})

    def _record(self, settings: Mapping[str, Any], turn_format: TurnFormat) -> None:
        config: Any = self.model.config
        own = {} if turn_format == "inline" else {_TURN_FORMAT: turn_format}
        config.zerosearch_env = {**settings, **own}
        self.__dict__.pop("codec", None)

    @property
    def prompt(self) -> str | None:
        """The prompt template it was trained with; None if unknown."""
        return self.env_settings.get("prompt")

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools it was trained with, whose closing tags end its turns."""
        return build_tools(self.env_settings.get("tools", DEFAULT_TOOLS))

    @cached_property
    def codec(self) -> TextCodec:
        """The tokenizer with the stop tokens of the model's configuration."""
        generation = getattr(self.model, "generation_config", None)
        stops = as_ids(getattr(generation, "eos_token_id", None))
        stops += as_ids(self.model.config.get_text_config().eos_token_id)
        return TextCodec(
            self.tokenizer,
            name=self.name,
            model_stop_ids=stops,
            turn_format=self.turn_format,
            tools=self.tools,
        )

    @cached_property
    def max_context(self) -> int:
        """Longest sequence of the model, in tokens."""
        config = self.model.config.get_text_config()
        return getattr(config, "max_position_embeddings", None) or _DEFAULT_CONTEXT

    def save(self, folder: str | Path) -> None:
        """Write a Hugging Face folder that `load_policy` reads.

        For a policy with an adapter, only the adapter and the path of its base model are written.
        """
        self.model.save_pretrained(folder)
        if has_adapter(self.model):
            text = json.dumps(self._recorded)
            (Path(folder) / _BESIDE_ADAPTER).write_text(text, encoding="utf-8")
        self.tokenizer.save_pretrained(folder)

    def save_merged(self, folder: str | Path) -> None:
        """Write a Hugging Face folder without adapters, which vLLM reads.

        Adapters are merged into the written weights; the policy is not changed. On a CPU a tied
        head is written under its own name too, see `merged_weights`.
        """
        weights: dict[str, torch.Tensor] = {}
        written: set[int] = set()
        for name, weight in merged_weights(self.model):
            weight = weight.detach().cpu().contiguous()
            # safetensors refuses tensors that share memory.
            weights[name] = weight.clone() if weight.data_ptr() in written else weight
            written.add(weight.data_ptr())
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        config = deepcopy(self.model.config)
        config.tie_word_embeddings &= self.model.device.type != "cpu"
        config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def resolve_device(device: str) -> str:
    """Return the device that "auto" means, or the given one.

    Raises:
        ValueError: if torch cannot use the device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"torch cannot use the device {device!r} ({str(error).splitlines()[0]}); use 'auto', "
            "'cpu', or 'cuda' with a GPU and a CUDA build of torch"
        ) from error
    return device


def load_policy(
    name_or_path: str | Path,
    *,
    gguf_file: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Policy:
    """Load a causal language model with its tokenizer.

    Args:
        name_or_path: see `find_model`.
        gguf_file: GGUF file in the folder or hub repository; its weights are dequantized.
        dtype: "float32", "bfloat16", "float16" or "float64"; adapters are at least float32.
        device: of the model; see `resolve_device`.

    Raises:
        ValueError: if the dtype is unknown, torch cannot use the device, or a local path does not
            exist or holds no model.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {_DTYPES}, got {dtype!r}")
    device = resolve_device(device)
    name = expand_home(name_or_path)
    source = name if gguf_file is not None else find_model(name)
    if name != "tiny":
        name = source
    if source.endswith(".gguf"):
        source, gguf_file = str(Path(source).parent), Path(source).name
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf_file, dtype=getattr(torch, dtype)
    )
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        # "sdpa" of older versions of transformers ignores the soft cap of Gemma 2.
        model.set_attn_implementation("eager")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf_file)
    if gguf_file is not None:
        model = _without_quantization(model)
    if has_adapter(model):
        reload_adapter(model, source)
        # The configuration is that of the base model; these settings are beside the adapter.
        file = Path(source) / _BESIDE_ADAPTER
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        model.config.zerosearch_env = known
    # Weights in the memory map of the file are not aligned: kernels would sum in another order, so
    # a loaded model would compute other last bits than the saved one.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return Policy(model=model.to(device).eval(), tokenizer=tokenizer, name=name)


def _without_quantization(model: Any) -> PreTrainedModel:
    """Rebuild a dequantized model, which transformers still treats as quantized."""
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    rebuilt = type(model)._from_config(config, dtype=model.dtype)
    rebuilt.load_state_dict(model.state_dict())
    rebuilt.generation_config = model.generation_config
    return rebuilt
