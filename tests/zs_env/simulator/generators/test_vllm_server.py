"""A real vLLM server as the generator; skipped where its environment was not built."""

import pytest

from tests.vllm_process import VLLMProcess, needs_vllm
from zs_env.search.types import SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.generators.base import Completion, Prompt, TextSampling
from zs_env.simulator.generators.server import ServerTextGenerator

TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"

pytestmark = [pytest.mark.slow, needs_vllm]


@pytest.fixture(scope="module")
def server(make_worded_llama, tmp_path_factory):
    """Base URL of a server of a small random model."""
    folder = tmp_path_factory.mktemp("model")
    # vLLM's attention takes heads of 32 dimensions and more.
    model, tokenizer = make_worded_llama(hidden_size=64, num_attention_heads=2)
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    process = VLLMProcess(folder, tmp_path_factory.mktemp("log") / "vllm.log")
    try:
        process.wait_until_it_answers()
        yield process.url
    finally:
        process.stop()


def test_a_seed_is_a_text(server):
    generator = ServerTextGenerator(server, sampling=TextSampling(temperature=1.0, max_tokens=16))
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
    generator = ServerTextGenerator(server, sampling=TextSampling(max_tokens=40))
    engine = LanguageModelEngine(generator, "tuned", retries=1)
    requests = [SearchRequest(f"q{n}", "Q?", ("a",), (n % 2 == 0,) * 2, n) for n in range(8)]
    pages = engine.search(requests)
    assert all(isinstance(page, SearchPage) and page.documents for page in pages)
    assert len(pages) == 8
    engine.close()
