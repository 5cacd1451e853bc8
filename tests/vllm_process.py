"""Real vLLM servers for tests, from the environment that `make simulator-environment` builds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv-simulator"
PYTHON = ENVIRONMENT / "bin" / "python"
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
# Where what it computes has to be exact: float32, and each prompt read whole.
FLAGS = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16", "--max-model-len", "256")
WAIT_S = 600

needs_vllm = pytest.mark.skipif(
    not list(ENVIRONMENT.glob("*-installed")),
    reason="vLLM's environment is not there; make simulator-environment",
)


class VLLMProcess:
    """A vLLM server of a model folder on a free port of loopback.

    Args:
        model: the folder.
        log: file that its output goes to.
        flags: further arguments of the server.
        environment: further variables of its process.
        port: to serve on; a free one where None.

    Attributes:
        url: base URL.
        port: that it serves on.
    """

    def __init__(
        self,
        model: Path,
        log: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port = port or _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--host", "127.0.0.1", "--port", str(port), *FLAGS, *flags]
        with log.open("w") as lines:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **SETTINGS, **(environment or {})},
                stdout=lines,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._log = log

    def wait_until_it_answers(self) -> None:
        """Wait until it serves; an AssertionError with the end of its log if it does not."""
        for _ in range(WAIT_S):
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/health", timeout=1).close()
            except OSError:
                time.sleep(1)
            else:
                return
        raise AssertionError(f"no answer in {WAIT_S} s:\n{self._log.read_text()[-3000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to all its processes and wait until they are gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, how)
            self._process.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
