"""Conformance tests with a real vLLM server, and a run whose server dies."""

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

pytestmark = [pytest.mark.slow, needs_vllm]

EXACT = (
    "--generation-config",
    "vllm",
    "--logprobs-mode",
    "processed_logprobs",
    "--no-enable-chunked-prefill",
    "--max-num-batched-tokens",
    "4096",
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
