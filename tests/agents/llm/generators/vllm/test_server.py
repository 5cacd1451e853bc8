"""The server generator with a stub of vLLM's API; test_real_servers.py uses real servers."""

import threading

import pytest

from agents.llm.generators.base import GenerationError, GenerationRequest, generate
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.server import VLLMServerGenerator
from agents.llm.generators.vllm.weight_sync import FolderSync
from agents.llm.policy.policy import load_policy
from tests.agents.llm.generators.generator_laws import LAWS
from tests.agents.llm.generators.vllm.vllm_stub import VLLMStub

GREEDY = Sampling(max_new_tokens=6, temperature=0.0)


@pytest.fixture
def policy():
    return load_policy("tiny")


@pytest.fixture
def stub():
    server = VLLMStub()
    yield server
    server.stop()


def _request(policy, session=0, text="Question: Where was Ash born?\n"):
    return GenerationRequest(session=session, token_ids=policy.codec.encode_prompt(text))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_laws(policy, stub, tmp_path, law):
    law(policy, VLLMServerGenerator(policy, [stub.url], weights=FolderSync([stub.url], tmp_path)))


def test_weights_are_sent_before_the_first_turn_and_their_file_is_deleted(policy, stub, tmp_path):
    generator = VLLMServerGenerator(policy, [stub.url], weights=FolderSync([stub.url], tmp_path))
    generate(generator, [_request(policy)], GREEDY)
    routes = [route for route, _ in stub.posts]
    assert routes == ["/collective_rpc", "/reset_prefix_cache", "/v1/completions"]
    assert stub.posts[0][1]["method"] == "reload_weights"
    assert list(tmp_path.iterdir()) == []


def test_all_turns_of_an_episode_go_to_one_server(policy, tmp_path):
    stubs = [VLLMStub(), VLLMStub()]
    generator = VLLMServerGenerator(policy, [one.url for one in stubs])
    for _ in range(2):
        generate(generator, [_request(policy, session) for session in range(4)], GREEDY)
    assert [len(one.posts) for one in stubs] == [4, 4]
    for one in stubs:
        one.stop()


def test_transformations_of_the_distribution_are_off(policy, stub):
    generator = VLLMServerGenerator(policy, [stub.url])
    generate(generator, [_request(policy)], GREEDY)
    ((_, body),) = stub.posts
    bends = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty")
    assert [body[name] for name in bends] == [1.0, -1, 0.0, 1.0, 0.0]
    assert body["stop"] == ["</search>", "</answer>"] and body["include_stop_str_in_output"]


def test_turns_of_an_episode_have_different_seeds(policy, stub):
    generator = VLLMServerGenerator(policy, [stub.url])
    request = _request(policy)
    (turn,) = generate(generator, [request], GREEDY)
    longer = GenerationRequest(session=0, token_ids=(*request.token_ids, *turn.token_ids))
    generate(generator, [longer], GREEDY)
    first, second = (body["seed"] for _, body in stub.posts)
    assert first != second


def test_logprobs_that_ignore_the_temperature_are_refused(policy, stub):
    stub.processed = False
    generator = VLLMServerGenerator(policy, [stub.url])
    with pytest.raises(ValueError, match="--logprobs-mode processed_logprobs"):
        generate(generator, [_request(policy)], Sampling(max_new_tokens=4, temperature=0.7))
    assert generate(generator, [_request(policy)], Sampling(max_new_tokens=4))


def test_a_temporary_failure_is_retried(policy, stub):
    stub.fail = lambda route, body: 503 if len(stub.posts) == 1 else None
    generator = VLLMServerGenerator(policy, [stub.url])
    (turn,) = generate(generator, [_request(policy)], GREEDY)
    assert turn.token_ids and len(stub.posts) == 2


def test_a_permanent_failure_names_the_server(policy, stub):
    stub.fail = lambda route, body: 500
    generator = VLLMServerGenerator(policy, [stub.url])
    with pytest.raises(GenerationError, match=rf"no turn from {stub.url} within 3 tries.*--resume"):
        generate(generator, [_request(policy)], GREEDY)
    assert generator.poll() == {}  # nothing is left over


def test_a_hanging_server_is_given_up_at_the_deadline(policy, stub):
    gate = threading.Event()
    stub.fail = lambda route, body: gate.wait(timeout=30) and None
    generator = VLLMServerGenerator(policy, [stub.url], turn_deadline_s=0.3)
    with pytest.raises(GenerationError, match=r"deadline of 0\.3 s"):
        generate(generator, [_request(policy)], GREEDY)
    gate.set()


def test_a_dead_server_is_not_replaced_by_another(policy):
    stub = VLLMStub()
    generator = VLLMServerGenerator(policy, [stub.url])
    stub.stop()
    with pytest.raises(GenerationError, match="within 1 tries"):
        generate(generator, [_request(policy)], GREEDY)
    with pytest.raises(GenerationError, match="does not answer"):
        VLLMServerGenerator(policy, [stub.url])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda choice: choice.pop("token_ids"), "return_token_ids"),
        (lambda choice: choice.pop("logprobs"), "0 logprobs"),
        (lambda choice: choice["logprobs"]["token_logprobs"].pop(), "5 logprobs"),
        (lambda choice: choice.update(prompt_token_ids=[1]), "differ from the .* ids it received"),
        (
            lambda choice: choice.update(
                token_ids=[9, 9], logprobs={"token_logprobs": [-1.0, -1.0]}
            ),
            "nor a stop token of the policy",
        ),
    ],
)
def test_invalid_answers_are_refused(policy, stub, change, message):
    stub.change = change
    generator = VLLMServerGenerator(policy, [stub.url])
    with pytest.raises(GenerationError, match=message):
        generate(generator, [_request(policy)], GREEDY)


def test_weights_that_are_not_confirmed_are_an_error(policy, stub, tmp_path):
    stub.fail = lambda route, body: 404 if route == "/collective_rpc" else None
    with pytest.raises(GenerationError, match=r"waited for .*collective_rpc.*VLLM_SERVER_DEV_MODE"):
        VLLMServerGenerator(policy, [stub.url], weights=FolderSync([stub.url], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_several_models_is_refused(policy, stub):
    stub.models = ["one", "two"]
    with pytest.raises(GenerationError, match="expected one"):
        VLLMServerGenerator(policy, [stub.url])
    with pytest.raises(ValueError, match="at least one"):
        VLLMServerGenerator(policy, [])
