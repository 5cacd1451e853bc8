"""Models that keep other things of earlier tokens than keys and values are refused at load."""

from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from agents.llm.generators.hf.forward import check_architecture
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.policy.policy import Policy

_SMALL = dict(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def _model(name: str, **settings: Any) -> Any:
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **(_SMALL | settings)))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "mamba"}, "recurrent layers"),
        ({"name": "lfm2", "layer_types": ["conv", "full_attention"]}, "layers of type conv"),
        ({"name": "llama4_text", "num_local_experts": 4}, "type chunked_attention"),
        ({"name": "minicpm3", "num_key_value_heads": 4}, "heads of size"),
        ({"name": "roformer", "num_key_value_heads": 4}, "not all of its layers"),
        ({"name": "bloom", "n_head": 4, "num_key_value_heads": 4}, "forward pass .* failed"),
    ],
    ids=lambda given: given["name"] if isinstance(given, dict) else "",
)
def test_an_unsupported_architecture_is_named(settings: dict[str, Any], reason: str) -> None:
    model = _model(**settings)
    with pytest.raises(ValueError, match=f"{type(model).__name__} is not supported .*{reason}"):
        check_architecture(model)


def test_a_generator_refuses_it_at_load(make_policy: Any) -> None:
    policy = Policy(_model("mamba"), make_policy().tokenizer)
    with pytest.raises(ValueError, match=r"MambaForCausalLM is not supported .* 'vllm'"):
        TransformersGenerator(policy)
    assert policy.model.config._attn_implementation != "zerosearch_rows"
