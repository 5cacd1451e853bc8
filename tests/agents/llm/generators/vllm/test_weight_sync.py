"""`NCCLSync` with a stub of vLLM's documented transfer API, and `FolderSync`.

No GPU has run the NCCL way. What is checked is the order of calls, their bodies and the deadline.
"""

import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from safetensors import SafetensorError

from agents.llm.generators.base import GenerationError
from agents.llm.generators.vllm.weight_sync import FolderSync, NCCLSync
from agents.llm.policy.lora import add_adapter, merged_weights
from agents.llm.policy.policy import load_policy
from tests.agents.llm.generators.vllm.vllm_stub import VLLMStub


@dataclass
class _InitInfo:
    master_address: str
    master_port: int
    world_size: int


@dataclass(frozen=True)
class _ParamMeta:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class _WeightSource(ABC):
    @abstractmethod
    def metadata(self): ...

    @abstractmethod
    def __iter__(self): ...


class _Engine:
    """Like vLLM's trainer engine: it makes the calls of an update through its client."""

    gate = None
    sent = ()

    def __init__(self, info, client, source):
        self.info, self.client, self.source = info, client, source

    @classmethod
    def trainer_init(cls, info, *, client, source):
        client.init_weight_transfer_engine({"world_size": info.world_size, "rank_offset": 1})
        return cls(info, client, source)

    def send_weights(self):
        self.client.start_weight_update()
        if self.gate is not None:
            self.gate.wait(timeout=30)
        described = self.source.metadata()
        self.client.update_weights({"names": [one.name for one in described]})
        type(self).sent = [(name, weight.clone()) for name, weight in self.source]
        assert described == [_ParamMeta(n, w.dtype, tuple(w.shape)) for n, w in self.sent]
        self.client.finish_weight_update()


@pytest.fixture
def vllm(monkeypatch):
    """The two modules of vLLM that `NCCLSync` imports."""
    base, nccl = ModuleType("base"), ModuleType("nccl_engine")
    base.ParamMeta, base.WeightSource = _ParamMeta, _WeightSource
    nccl.NCCLTrainerInitInfo = _InitInfo
    nccl.NCCLTrainerWeightTransferEngine = _Engine
    for name in ("vllm", "vllm.distributed", "vllm.distributed.weight_transfer"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.distributed.weight_transfer.base", base)
    monkeypatch.setitem(sys.modules, "vllm.distributed.weight_transfer.nccl_engine", nccl)


@pytest.fixture
def stub():
    server = VLLMStub()
    yield server
    server.stop()


def _sync(stub, **settings):
    meeting = {"master_address": "127.0.0.1", "master_port": 29555, "workers": 2}
    return NCCLSync([stub.url], **{**meeting, **settings})


def test_weights_that_a_killed_process_left_are_deleted(tmp_path):
    (tmp_path / "weights-7").mkdir()
    (tmp_path / "weights-7" / "model.safetensors").touch()
    FolderSync(["http://127.0.0.1:9"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_servers_are_paused_updated_and_reset(vllm, stub):
    policy = load_policy("tiny")
    sync = _sync(stub)
    for _ in range(2):
        sync.send(policy)
    one_update = [
        "/pause?mode=wait",
        "/start_weight_update",
        "/update_weights",
        "/finish_weight_update",
        "/reset_prefix_cache",
        "/resume",
    ]
    assert [route for route, _ in stub.posts] == ["/init_weight_transfer_engine", *one_update * 2]
    bodies = dict(stub.posts)
    assert bodies["/init_weight_transfer_engine"]["init_info"]["world_size"] == 3
    names = [name for name, _ in merged_weights(policy.model)]
    assert bodies["/update_weights"]["update_info"]["names"] == names


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_sent_merged_under_the_names_and_in_the_dtype_of_the_base(vllm, stub, dtype):
    policy, base = load_policy("tiny", dtype=dtype), load_policy("tiny", dtype=dtype)
    names = {name for name, _ in merged_weights(base.model)}
    add_adapter(policy.model, rank=4, alpha=8)
    sync = _sync(stub)
    sync.send(policy)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_" in name:
                weight.fill_(0.5)
    sync.send(policy)  # new weights in the second round
    sent, before = dict(_Engine.sent), base.model.state_dict()
    assert sent.keys() == names
    # A and B of rank 4 hold 0.5, scaled by alpha / rank = 2: every entry grows by 4 * 0.25 * 2.
    name = "model.layers.0.self_attn.q_proj.weight"
    assert sent[name].dtype == getattr(torch, dtype)
    torch.testing.assert_close(sent[name], before[name] + 2)
    assert torch.equal(sent["model.embed_tokens.weight"], before["model.embed_tokens.weight"])


def test_a_hanging_transfer_ends_at_the_deadline_and_servers_resume(vllm, stub, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(_Engine, "gate", gate)
    with pytest.raises(GenerationError, match=r"the weights to be received up to 0\.5 s"):
        _sync(stub, deadline_s=0.5).send(load_policy("tiny"))
    assert stub.posts[-1][0] == "/resume"
    gate.set()


def test_a_server_that_refuses_is_named(vllm, stub):
    stub.fail = lambda route, body: 500 if route == "/update_weights" else None
    with pytest.raises(GenerationError, match=r"waited for http://127.*/update_weights"):
        _sync(stub).send(load_policy("tiny"))
    assert stub.posts[-1][0] == "/resume"


def test_merged_weights_equal_the_model_with_its_adapter():
    policy = load_policy("tiny")
    plain = {name for name, _ in policy.model.named_parameters(remove_duplicate=False)}
    assert "lm_head.weight" in plain  # of its own, although it is tied
    add_adapter(policy.model, rank=4, alpha=8)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=0.02)
    merged = dict(merged_weights(policy.model))
    assert merged.keys() == plain
    ids = torch.tensor([[1, 7, 30, 200]])
    with torch.no_grad():
        wanted = policy.model(ids).logits
        other = load_policy("tiny").model
        base = other(ids).logits
        other.load_state_dict(merged, strict=False)
        torch.testing.assert_close(other(ids).logits, wanted, atol=1e-4, rtol=0)
    assert (base - wanted).abs().max() > 1e-2


def test_a_full_disk_is_a_generation_error(tmp_path):
    class Full:
        def save_merged(self, folder):
            raise SafetensorError("No space left on device")

    with pytest.raises(GenerationError, match=r"cannot be written .*No space left"):
        FolderSync(["http://127.0.0.1:9"], tmp_path).send(Full())
    assert not list(tmp_path.iterdir())
