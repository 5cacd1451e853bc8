"""A random Llama of a few thousand weights that reads words; one thread for each test process."""

import json
import os
from collections.abc import Callable, Iterator
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

# As many test processes as cores run side by side: where each had a thread for every core, they
# would wait for each other most of the time. Before torch is imported, and for child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A precompiled header made for one instruction set does not compile for another.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(
        Path(gettempdir()) / f"inductor-{getuser()}-{os.environ.get('ATEN_CPU_CAPABILITY', 'any')}"
    ),
)


@pytest.fixture(scope="session")
def make_worded_llama() -> Callable[..., tuple[Any, Any]]:
    """Makes the model and the tiny policy's tokenizer; fields of its configuration may be given."""

    def make(**fields: Any) -> tuple[Any, Any]:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from agents.llm.tiny.tokenizer import build_tokenizer

        torch.manual_seed(0)
        tokenizer = build_tokenizer()
        small = {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 256,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        config: Any = LlamaConfig(vocab_size=len(tokenizer), **{**small, **fields})
        return LlamaForCausalLM(config).eval(), tokenizer

    return make


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without the runs of a user, such as runs/train of `make train`."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder with two data files; nothing may be written outside it."""
    folder, work = tmp_path / "home", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    question = {"question": "What is the capital?", "answers": ["Oslo"]}
    passage = {"title": "Oslo", "text": "Oslo is the capital."}
    (folder / "q.jsonl").write_text(json.dumps(question) + "\n")
    (folder / "p.jsonl").write_text(json.dumps(passage) + "\n")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(work)
    yield folder
    assert not [*work.iterdir()]
