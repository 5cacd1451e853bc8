"""The generator with vLLM in this process, with a stub of vLLM."""

import importlib
import sys
from types import ModuleType

import pytest


@pytest.fixture
def generator_class(monkeypatch):
    vllm = ModuleType("vllm")
    vllm.LLM = lambda **settings: None
    vllm.SamplingParams = dict
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    name = "zs_env.simulator.generators.local_vllm"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name).VLLMTextGenerator
    sys.modules.pop(name, None)


def test_other_weights_in_the_same_folder_have_another_fingerprint(generator_class, tmp_path):
    weights = tmp_path / "model.safetensors"
    fingerprints = []
    for content in (b"old", b"new", b"old"):
        weights.write_bytes(content)
        fingerprints.append(generator_class(tmp_path).fingerprint)
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_a_hub_name_is_its_fingerprint(generator_class):
    assert generator_class("owner/model").fingerprint.startswith("vllm-1:owner/model:[]")
