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


def test_two_agents_in_json_have_different_names_everywhere(tmp_path, monkeypatch, capsys):
    from tests.zs_env.simulator.generators.chat_server import ChatServer, chat

    async def answer(body):
        return chat("Answer: nobody")

    monkeypatch.chdir(tmp_path)
    with ChatServer(answer) as server:
        model = {"kind": "server", "servers": server.url, "model": "own/long-name-7B"}
        once, seeded, direct = (
            json.dumps({"kind": kind, "generator": model, **fields})
            for kind, fields in (("rag", {}), ("rag", {"seed": 1}), ("direct", {}))
        )
        flags = ["--episodes", "2", "--noise", "0", "1", "--output", "sweep", "--json"]
        assert main(["sweep-noise", "--agents", once, seeded, f"mine={direct}", *flags]) == 0
        expected = ["rag · long-name-7B", "rag · long-name-7B (seed 1)", "mine"]
        captured = capsys.readouterr()
        cells = json.loads(captured.out)["cells"]
        assert [cell["agent"] for cell in cells] == [name for name in expected for _ in range(2)]
        assert "mine, noise 1: f1" in captured.err
        # The folder of a cell holds the agent itself.
        (tmp_path / "q.jsonl").write_text('{"question": "Who?", "answers": ["nobody"]}\n')
        assert main(["counterfactuals", "--evaluation", "sweep/cells/mine/noise-1.0"]) == 0
        sets = ["--sets", "own=q.jsonl", "--engine", "none", "--output", "benchmark", "--json"]
        capsys.readouterr()
        assert main(["benchmark", "--agents", once, seeded, f"mine={direct}", *sets]) == 0
        scores = json.loads(capsys.readouterr().out)["scores"]
        assert list(dict.fromkeys(score["agent"] for score in scores)) == expected
        assert main(["ask", "Who?", "--policy", f"mine={direct}", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["answer"] == "nobody"
        num_requests = len(server.bodies)
        for label in ("one=", "two=", ""):  # a label changes no episode
            command = ["evaluate", "--agent", label + direct, "--episodes", "2", "--json"]
            assert main(command) == 0
            figures = json.loads(capsys.readouterr().out)
            name = label.removesuffix("=") or "direct · long-name-7B"
            assert figures["agent"] == name
            report = ["report", figures["folder"], "--output", "report.html"]
            assert main(report) == 0 and f'"agent":{json.dumps(name)}' in (
                tmp_path / "report.html"
            ).read_text(encoding="utf-8")
            capsys.readouterr()
        assert len(server.bodies) == num_requests + 2


def test_a_served_model_plays_the_protocol_of_the_environment(tmp_path, capsys):
    from tests.zs_env.simulator.generators.chat_server import ChatServer, chat

    async def answer(body):
        text = body["messages"][0]["content"]
        searched = "\n\n<information>\n" in text
        return chat("<answer>nobody</answer> more" if searched else "<search>who")

    with ChatServer(answer) as server:
        agent = {"kind": "instruct", "generator": {"kind": "server", "servers": server.url}}
        command = ["evaluate", "--agent", json.dumps(agent), "--episodes", "3", "--json"]
        assert main([*command, "--output", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["searches"]["mean"] == 1 and figures["reasons"] == {"answer": 3}
    assert figures["malformed"]["mean"] == 0 and "adopted" not in captured.err
    assert {tuple(body["stop"]) for body in server.bodies} == {("</search>", "</answer>")}
    first = [body["messages"] for body in server.bodies[:3]]
    assert all(
        len(messages) == 1 and "between <search> and </search>" in messages[0]["content"]
        for messages in first
    )


def _agent(url):
    return json.dumps({"kind": "direct", "generator": {"kind": "server", "servers": url}})


async def _somebody(body):
    from tests.zs_env.simulator.generators.chat_server import chat

    return chat("Answer: somebody")


def test_results_of_another_model_behind_the_same_server_are_not_taken(
    tmp_path, capsys, monkeypatch
):
    from tests.zs_env.simulator.generators.chat_server import ChatServer

    monkeypatch.chdir(tmp_path)
    with ChatServer(_somebody, models=("one",)) as server:
        command = ["evaluate", "--agent", _agent(server.url), "--episodes", "2"]
        assert main(command) == 0 and main(command) == 0
        assert "2 of 2 episodes were played before" in capsys.readouterr().err
        assert main([*command, "--fresh"]) == 0
        assert "played before" not in capsys.readouterr().err and len(server.bodies) == 4
        assert main([*command, "--output", "fixed"]) == 0
    with ChatServer(_somebody, models=("two",), port=server.port) as server:
        assert main(command) == 0
        assert "played before" not in capsys.readouterr().err and len(server.bodies) == 2
        assert main([*command, "--output", "fixed"]) == 2
        error = capsys.readouterr().err
        assert "contains another evaluation" in error and "--fresh" in error
        assert main([*command, "--output", "fixed", "--fresh"]) == 0
        simulator = {"kind": "simulator", "generator": {"kind": "server", "servers": server.url}}
        flags = ["--agent", "answer-at-once", "--engine", json.dumps(simulator), "--episodes", "2"]
        assert main(["evaluate", *flags, "--output", "simulated"]) == 0
    with ChatServer(_somebody, models=("three",), port=server.port):
        assert main(["evaluate", *flags, "--output", "simulated"]) == 2
        assert "models was" in capsys.readouterr().err


def test_a_dead_server_ends_a_command_at_once_with_its_address_and_the_cause(tmp_path, capsys):
    from tests.zs_env.simulator.generators.chat_server import ChatServer

    with ChatServer(_somebody) as server:
        url = server.url
    generator = {"kind": "server", "servers": url}
    flags = ["--episodes", "2", "--output", str(tmp_path)]
    for spec in (
        {"kind": "simulator", "generator": generator},
        {"kind": "http", "url": url},
        {"kind": "hybrid", "engines": [{"kind": "http", "url": url}, {"kind": "world"}]},
    ):
        agent = ["--agent", "search-once", "--engine", json.dumps(spec)]
        assert main(["evaluate", *agent, *flags]) == 1
        error = capsys.readouterr().err
        assert url in error and "refused" in error.lower() and "start the server" in error.lower()
        asked = ["--policy", "search-once", "--engine", json.dumps(spec)]
        assert main(["ask", "Who?", *asked]) == 1
        assert url in capsys.readouterr().err
    for command in (["evaluate", "--agent"], ["sweep-noise", "--agents", "search-once"]):
        assert main([*command, _agent(url), *flags]) == 1
        error = capsys.readouterr().err
        assert url in error and "refused" in error.lower()
    assert not list(tmp_path.glob("cells/*"))  # not after the episodes of the first agent
    assert main(["ask", "Who?", "--policy", _agent(url)]) == 1
    assert url in capsys.readouterr().err
