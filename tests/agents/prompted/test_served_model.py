"""A prompted agent on the command line with a model server."""

import json

import pytest

from agents.cli.main import main

pytest.importorskip("aiohttp")


def test_an_evaluation_resumes_after_a_server_failure(tmp_path, capsys):
    from aiohttp import web

    from tests.zs_env.simulator.generators.chat_server import ChatServer, chat

    answers = [0]

    async def answer(body):
        answers[0] += 1
        if answers[0] == 4:
            return web.Response(status=401, text="no such key")
        return chat("Answer: nobody")

    with ChatServer(answer) as server:
        agent = {"kind": "rag", "generator": {"kind": "server", "servers": server.url}}
        flags = ["--agent", json.dumps(agent), "--episodes", "6", "--concurrency", "1"]
        command = ["evaluate", *flags, "--output", str(tmp_path), "--json"]
        assert main(command) == 1
        assert "status 401: no such key" in (error := capsys.readouterr().err)
        assert "same command again" in error and "Traceback" not in error
        assert main(command) == 0
    output = capsys.readouterr()
    assert "3 of 6 episodes were played before" in output.err
    figures = json.loads(output.out)
    assert (figures["episodes"], figures["failures"]["count"]) == (6, 0)
    # Only the failed request was repeated.
    assert len(server.bodies) == 7
    assert all(body["temperature"] == 0.0 for body in server.bodies)
