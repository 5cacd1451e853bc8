"""A real server of `examples/openenv`; the Python is that of `make openenv-environment`."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

from tests.paths import ROOT

WAIT_S = 120
# As documented.
COMMAND = ["uvicorn", "--app-dir", "examples/openenv", "server.app:app"]


@contextmanager
def serve(python: Path, log: Path, spec: dict | None = None, *, web: bool = False) -> Iterator[str]:
    """Yield the base URL of a server of an environment on a free port of loopback."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ZEROSEARCH_ENV": "" if spec is None else json.dumps(spec),
        "ENABLE_WEB_INTERFACE": str(web),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("w") as lines:
        process = subprocess.Popen(
            [str(python), "-m", *COMMAND, "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=lines,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(process: subprocess.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            dead = process.poll() is not None or time.monotonic() > end
            assert not dead, log.read_text()[-4000:]
            time.sleep(0.1)
