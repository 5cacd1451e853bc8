"""A real vLLM server as the writer; skipped where its environment was not built."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from zs_env.search import SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.server_writer import ServerWriter
from zs_env.simulator.writer import Prompt, WriterSampling, Writing

ENVIRONMENT = Path(__file__).resolve().parents[3] / ".venv-simulator"
PYTHON = ENVIRONMENT / "bin" / "python"
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
WAIT_S = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not list(ENVIRONMENT.glob("*-installed")),
        reason="vLLM's environment is not there; make simulator-environment",
    ),
]


@pytest.fixture(scope="module")
def server(make_worded_llama, tmp_path_factory):
    """A server of a small random model, and its base URL."""
    folder = tmp_path_factory.mktemp("model")
    # vLLM's attention takes heads of 32 dimensions and more.
    model, tokenizer = make_worded_llama(hidden_size=64, num_attention_heads=2)
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "256", "--max-num-seqs", "8", "--enforce-eager"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(WAIT_S):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(1)
        else:
            return
    raise AssertionError(f"no answer in {WAIT_S} s:\n{log.read_text()[-3000:]}")


def test_a_seed_is_a_text(server):
    writer = ServerWriter(server, sampling=WriterSampling(temperature=1.0, max_tokens=16))
    prompts = [Prompt("The author of", None, seed) for seed in (1, 1, 2, 3)]
    written = writer.write(prompts)
    assert all(isinstance(one, Writing) for one in written)
    texts = [one.text for one in written]
    assert texts[0] == texts[1] and len(set(texts)) == 3
    assert all(one.prompt_tokens > 0 and one.completion_tokens == 16 for one in written)
    assert all(one.cut for one in written)
    assert writer.check()[0]["models"]
    writer.close()


def test_it_is_a_search_engine(server):
    writer = ServerWriter(server, sampling=WriterSampling(max_tokens=40))
    engine = LanguageModelEngine(writer, "tuned", retries=1)
    requests = [SearchRequest(f"q{n}", "Q?", ("a",), (n % 2 == 0,) * 2, n) for n in range(8)]
    pages = engine.search(requests)
    assert all(isinstance(page, SearchPage) and page.documents for page in pages)
    assert engine.counts.requests == 8
    engine.close()
