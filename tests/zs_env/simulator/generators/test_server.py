"""Every prompt gets its own answer or an error before its deadline."""

import asyncio
import json
import pickle
import threading
import time
from dataclasses import replace

import pytest
from aiohttp import web

from tests.zs_env.simulator.generators.chat_server import ChatServer, chat
from zs_env.search.http_client import API_KEY_VARIABLE
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    NoResponse,
    Prompt,
    PromptRejected,
    TextSampling,
)
from zs_env.simulator.generators.server import ServerLimits, ServerTextGenerator

QUICK = ServerLimits(
    read_timeout_s=0.5, deadline_s=5.0, failures_to_open=3, cooldown_s=0.05, max_tries=20
)


def prompts(count):
    return [Prompt(f"prompt {number}", None, number) for number in range(count)]


async def echo(body):
    await asyncio.sleep(0.002)
    return chat(f"echo {body['messages'][-1]['content']}", prompt_tokens=3, completion_tokens=2)


def assert_echoed(outputs, asked):
    assert [one.text for one in outputs] == [f"echo {prompt.text}" for prompt in asked]


def test_request_body_and_cost(monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with ChatServer(echo) as server:
        generator = ServerTextGenerator(
            server.url,
            sampling=TextSampling(temperature=0.5, top_p=0.9, frequency_penalty=0.4, max_tokens=7),
            extra={"stop": ["x"]},
        )
        (outputs,) = generator.generate([Prompt("p", "", 2**62 + 5)])
        generator.close()
    assert (outputs.text, outputs.prompt_tokens, outputs.completion_tokens) == ("echo p", 3, 2)
    assert outputs.calls == 1
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "p"}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 7,
            "seed": 5,
            "stop": ["x"],
            "frequency_penalty": 0.4,
        }
    ]
    assert "Authorization" not in server.headers[0]


def test_every_prompt_gets_its_own_answer_from_several_servers():
    asked = prompts(300)
    with ChatServer(echo) as one, ChatServer(echo) as other:
        generator = ServerTextGenerator([one.url, other.url], limits=ServerLimits(concurrency=8))
        assert_echoed(generator.generate(asked), asked)
        shares = [row["answered"] for row in generator.report()]
        generator.close()
    assert sum(shares) == 300 and min(shares) > 100


def test_texts_are_streamed_in_order_of_completion_each_once():
    released = asyncio.Event()

    async def answer(body):
        if body["messages"][-1]["content"] == "prompt 0":
            await released.wait()
        return await echo(body)

    asked, taken = prompts(20), {}
    with ChatServer(answer) as server:

        def take(number, completion):
            assert number not in taken
            taken[number] = completion
            if len(taken) == 19:  # all but the first, which waits until then
                server.call_soon(released.set)

        generator = ServerTextGenerator(server.url)
        generator.generate_stream(asked, take)
        generator.generate_stream([], take)
        generator.close()
    assert list(taken)[-1] == 0
    assert_echoed([taken[number] for number in range(20)], asked)


def test_concurrency_per_server_is_limited():
    under_way, most = 0, 0

    async def answer(body):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return chat("x")

    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, limits=ServerLimits(concurrency=5))
        generator.generate(prompts(40))
        generator.close()
    assert most == 5


def test_a_restarted_server_loses_no_prompt():
    asked = prompts(1000)
    first = ChatServer(echo)
    generator = ServerTextGenerator(first.url, limits=replace(QUICK, deadline_s=60.0))
    outputs = []
    thread = threading.Thread(target=lambda: outputs.extend(generator.generate(asked)))
    thread.start()
    while len(first.bodies) < 300:
        assert thread.is_alive()
        time.sleep(0.001)
    first.stop()
    time.sleep(0.2)
    with ChatServer(echo, port=first.port):
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert_echoed(outputs, asked)
    (row,) = generator.report()
    assert row["answered"] == 1000 and sum(row["failures"].values()) > 0
    assert row["breaker_opened"] >= 1
    generator.close()


def _hang():
    async def answer(body):
        await asyncio.sleep(60)
        return chat("late")

    return answer


def _sometimes_500():
    calls = iter(range(10**6))

    async def answer(body):
        if next(calls) % 10 < 3:
            return web.Response(status=500, text="overloaded")
        return await echo(body)

    return answer


def _garbage():
    kinds = [
        web.Response(text="<html>"),
        web.Response(body=b"\xff\xfe\x00"),
        web.json_response([]),
        web.json_response({"choices": []}),
        web.json_response({"choices": [{"message": {"content": None}}]}),
        web.json_response({"choices": [{"message": {"content": " "}}]}),
        web.json_response({"choices": "x", "usage": 3}),
    ]
    bodies = iter(range(10**6))

    async def answer(body):
        kind = kinds[next(bodies) % len(kinds)]
        return web.Response(body=kind.body, content_type="application/json")

    return answer


@pytest.mark.parametrize(
    ("bad", "reason"), [(_hang, "timeout"), (_sometimes_500, "status 500"), (_garbage, "garbage")]
)
def test_one_bad_server_of_three_fails_no_prompt(bad, reason):
    asked = prompts(200)
    with ChatServer(bad()) as worst, ChatServer(echo) as one, ChatServer(echo) as other:
        generator = ServerTextGenerator(
            [worst.url, one.url, other.url],
            "m",
            limits=ServerLimits(
                concurrency=8, read_timeout_s=2.0, deadline_s=60.0, failures_to_open=3
            ),
        )
        assert_echoed(generator.generate(asked), asked)
        rows = generator.report()
        generator.close()
    assert rows[0]["failures"][reason] > 0
    assert not rows[1]["failures"] and not rows[2]["failures"]
    assert sum(row["answered"] for row in rows) == 200


def test_no_prompt_exceeds_the_deadline():
    with ChatServer(_hang()) as server:
        generator = ServerTextGenerator(
            server.url,
            "m",
            limits=ServerLimits(read_timeout_s=0.1, deadline_s=0.4, concurrency=2, max_tries=100),
        )
        # One after the other, 50 timeouts would take 2.5 s.
        outputs = generator.generate(prompts(50))
        generator.close()
    assert all(isinstance(one, GenerationError) for one in outputs)


def test_a_blocked_event_loop_is_an_error_that_names_the_cause(monkeypatch):
    monkeypatch.setattr("zs_env.simulator.generators.server._LOOP_DELAY_S", 0.0)

    async def block():
        time.sleep(4.0)

    with ChatServer(echo) as server:
        generator = ServerTextGenerator(server.url, "m", limits=ServerLimits(deadline_s=1.0))
        blocked = generator._running_loop().submit(block())
        with pytest.raises(TimeoutError, match=r"no result within 2 s.*overloaded"):
            generator.generate(prompts(1))
        blocked.result()
        monkeypatch.undo()
        assert_echoed(generator.generate(prompts(1)), prompts(1))
        generator.close()


def test_no_reachable_server_is_an_error():
    with ChatServer(echo) as server:
        url = server.url
    generator = ServerTextGenerator(url, limits=ServerLimits(deadline_s=0.3, failures_to_open=2))
    (error,) = generator.generate(prompts(1))
    assert isinstance(error, GenerationError)
    assert "connection" in str(error) or "no server was free" in str(error)
    assert "error" in generator.check()[0]
    generator.close()


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refused_request_is_not_repeated(status):
    async def answer(body):
        return web.Response(status=status, text="no such model")

    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, "m")
        (error,) = generator.generate(prompts(1))
        generator.close()
    assert isinstance(error, GenerationError) and not isinstance(error, PromptRejected)
    assert f"status {status}: no such model" in str(error)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        web.Response(status=400, text="This model's maximum context length is 2048 tokens."),
        web.Response(status=400, text='{"code": "content_filter"}'),
        web.Response(status=413, text="no"),
        web.Response(
            text='{"choices": [{"message": {"content": null, "refusal": "I cannot."}}]}',
            content_type="application/json",
        ),
    ],
    ids=["context", "filter", "size", "refusal"],
)
def test_a_rejected_prompt_is_distinguished_from_a_failing_server(refusal):
    async def answer(body):
        return web.Response(
            status=refusal.status, body=refusal.body, content_type=refusal.content_type
        )

    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, "m", limits=ServerLimits(max_tries=2))
        (error,) = generator.generate(prompts(1))
        generator.close()
    assert isinstance(error, PromptRejected)


@pytest.mark.parametrize(
    "content", [None, "", " \n ", [], "<think>\nhm", "hm\n</think>\n\n"], ids=repr
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_no_content_is_a_failure_of_the_server(content, finish):
    async def answer(body):
        message = {"role": "assistant", "content": content, "reasoning_content": "hm"}
        return web.json_response({"choices": [{"message": message, "finish_reason": finish}]})

    limits = ServerLimits(max_tries=2, failures_to_open=1, cooldown_s=60.0)
    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, "m", limits=limits)
        (error,) = generator.generate(prompts(1))
        (row,) = generator.report()
        generator.close()
    assert isinstance(error, NoResponse) and server.url in str(error)
    # Another try cannot help if the tokens were used up; the server itself works.
    assert len(server.bodies) == (1 if finish == "length" else 2)
    assert ("raise sampling.max_tokens" in str(error)) == (finish == "length")
    assert row["breaker_opened"] == 0


def test_content_in_parts_is_joined():
    async def answer(body):
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        return web.json_response({"choices": [{"message": {"content": parts}}]})

    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, "m")
        (output,) = generator.generate(prompts(1))
        generator.close()
    assert output.text == "ab"


def test_a_server_with_several_models_needs_a_choice():
    with ChatServer(echo, models=("a", "b")) as server:
        generator = ServerTextGenerator(server.url)
        (error,) = generator.generate(prompts(1))
        assert "['a', 'b']" in str(error) and "model=" in str(error)
        assert generator.check() == [{"url": server.url, "models": ["a", "b"]}]
        generator.close()


def test_the_key_is_sent_but_not_stored(monkeypatch):
    key = "sk-planted-4711"
    monkeypatch.setenv(API_KEY_VARIABLE, key)

    async def answer(body):
        return web.Response(status=401, text=f"wrong key {key}")

    with ChatServer(answer) as server:
        generator = ServerTextGenerator(server.url, "m")
        (error,) = generator.generate(prompts(1))
        report = json.dumps(generator.report())
        generator.close()
    assert server.headers[0]["Authorization"] == f"Bearer {key}"
    for text in (str(error), report, repr(vars(generator)), generator.fingerprint):
        assert key not in text
    assert key.encode() not in pickle.dumps(generator)


@pytest.mark.parametrize(("key", "sent"), [("k-4711\r", True), ("k-47\r11", False)])
def test_a_key_with_a_carriage_return(key, sent, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    with ChatServer(echo) as server:
        generator = ServerTextGenerator(server.url, "m")
        (output,) = generator.generate(prompts(1))
        generator.close()
    assert isinstance(output, Completion) == sent
    if not sent:
        assert API_KEY_VARIABLE in str(output) and "k-47" not in str(output)


def test_a_copy_and_a_closed_generator_open_new_connections():
    with ChatServer(echo) as server:
        generator = ServerTextGenerator(server.url)
        generator.generate(prompts(1))
        copy = pickle.loads(pickle.dumps(generator))
        assert isinstance(copy.generate(prompts(1))[0], Completion)
        generator.close()
        assert generator.report()[0]["answered"] == 1
        assert isinstance(generator.generate(prompts(1))[0], Completion)
        generator.close()
        copy.close()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("https://h/api/v2/", "https://h/api/v2"),
    ],
)
def test_a_url_without_a_path_gets_the_default_path(url, base):
    assert ServerTextGenerator(url).urls == [base]


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://user:pw@h", "http://h?key=1", ""])
def test_an_invalid_url_is_refused(url):
    with pytest.raises(ValueError, match=r"expected a URL such as http://127\.0\.0\.1:8000/v1"):
        ServerTextGenerator(url)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="give the base URL"):
        ServerTextGenerator([])
    with pytest.raises(ValueError, match="deadline_s must be positive"):
        ServerLimits(deadline_s=0)
    with pytest.raises(ValueError, match="top_p lies in"):
        TextSampling(top_p=0)
    with pytest.raises(ValueError, match="frequency_penalty"):
        TextSampling(frequency_penalty=3.0)
