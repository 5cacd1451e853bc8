"""`zerosearch serve-search` as a process: it serves, and ends in good order on a signal."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from socket import create_server

from zs_env.engines import HTTPEngine
from zs_env.search.types import SearchRequest
from zs_env.world import World


def _free_port():
    with create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_the_world_is_served_until_sigterm(tmp_path):
    port = _free_port()
    command = [sys.executable, "-m", "agents.cli", "serve-search", "--port", str(port)]
    cache = tmp_path / "pages.sqlite"
    with subprocess.Popen(
        [*command, "--cache", str(cache)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                        assert json.load(answer) == {"status": "ok", "engine": "world"}
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.05)
            fact = World(0, "train").facts[0]
            query = f"{fact.relation.name} of {fact.subject.name}"
            client = HTTPEngine(f"{address}/retrieve")
            (page,) = client.search([SearchRequest(query, None, None, (True,) * 5, 0)])
            assert any(fact.object.name in document.text for document in page.documents)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert f"serving world at {address}/retrieve, noise 0" in process.stderr.read()
    assert cache.stat().st_size > 0
