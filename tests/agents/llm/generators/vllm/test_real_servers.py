"""Tests with a real vLLM server: conformance, a simulator's pages, and a run whose server dies.

A server takes long to start, so all tests use the same one.
"""

import json
import signal
import threading
import time

import pytest

from agents.llm.generators.base import GenerationError
from agents.llm.generators.vllm.server import VLLMServerGenerator
from agents.llm.generators.vllm.weight_sync import FolderSync
from agents.llm.policy.policy import load_policy
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.loop import train
from agents.llm.trainer.metrics import read_metrics
from agents.storage.config_file import with_settings
from tests.agents.llm.generators.generator_laws import LAWS
from tests.vllm_process import VLLMProcess, needs_vllm
from zs_env.search.types import SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.generators.base import Completion, Prompt, TextSampling
from zs_env.simulator.generators.server import ServerTextGenerator

pytestmark = [pytest.mark.slow, needs_vllm]

EXACT = (
    "--generation-config",
    "vllm",
    "--logprobs-mode",
    "processed_logprobs",
    "--no-enable-chunked-prefill",
    "--max-num-batched-tokens",
    "4096",
    "--chat-template",
    "{% for message in messages %}{{ message['content'] }} {% endfor %}",
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts servers of the tiny policy's model; they stop after the tests."""
    folder, log = tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("log") / "vllm.log"
    load_policy("tiny").save_merged(folder)
    started = []

    def start(port=None):
        dev_mode = {"VLLM_SERVER_DEV_MODE": "1"}
        process = VLLMProcess(folder, log, *EXACT, environment=dev_mode, port=port)
        started.append(process)
        process.wait_until_it_answers()
        return process

    yield start
    for process in started:
        process.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def server(start):
    return start()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_laws(server, tmp_path, law):
    policy = load_policy("tiny")
    weights = FolderSync([server.url], tmp_path)
    law(policy, VLLMServerGenerator(policy, [server.url], weights=weights))


def test_a_seed_is_a_text(server):
    generator = ServerTextGenerator(
        server.url, sampling=TextSampling(temperature=1.0, max_tokens=16)
    )
    prompts = [Prompt("The author of", None, seed) for seed in (1, 1, 2, 3)]
    outputs = generator.generate(prompts)
    assert all(isinstance(one, Completion) for one in outputs)
    texts = [one.text for one in outputs]
    assert texts[0] == texts[1] and len(set(texts)) == 3
    assert all(one.prompt_tokens > 0 and one.completion_tokens == 16 for one in outputs)
    assert all(one.cut for one in outputs)
    assert generator.check()[0]["models"]
    generator.close()


def test_it_is_a_search_engine(server):
    generator = ServerTextGenerator(server.url, sampling=TextSampling(max_tokens=40))
    engine = LanguageModelEngine(generator, "tuned", retries=1)
    requests = [SearchRequest(f"q{n}", "Q?", ("a",), (n % 2 == 0,) * 2, n) for n in range(8)]
    pages = engine.search(requests)
    assert all(isinstance(page, SearchPage) and page.documents for page in pages)
    assert len(pages) == 8
    engine.close()


def test_a_run_whose_server_is_killed_resumes_with_another(start, server, tmp_path):
    """The last test of this module: it stops the server."""
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    config = TrainConfig.of(
        output=folder,
        generator=json.dumps({"kind": "vllm-server", "servers": [server.url]}),
        steps=3,
        questions_per_step=2,
        group_size=4,
        max_new_tokens=24,
        final_episodes=2,
        eval_noise=(0.0,),
        checkpoint_every=1,
        tensorboard=False,
    )

    def kill_after_a_step():
        while not (metrics.exists() and '"train"' in metrics.read_text()):
            time.sleep(0.01)
        server.stop(signal.SIGKILL)

    killer = threading.Thread(target=kill_after_a_step)
    killer.start()
    with pytest.raises(GenerationError, match=r"(no turn from|waited for) .*"):
        train(config)
    killer.join()
    assert 1 <= len(read_metrics(folder, "train")) < 3
    with pytest.raises(GenerationError, match=r"does not answer|waited for"):
        train(with_settings(config, {"resume": True}))
    start(server.port)
    result = train(with_settings(config, {"resume": True}))
    assert result.steps == 3
    assert [row["step"] for row in read_metrics(folder, "train")] == [1, 2, 3]
