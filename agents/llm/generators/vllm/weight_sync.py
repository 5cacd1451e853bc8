"""How new weights get to vLLM servers.

Two ways: through a folder that the servers can read, which works with every build, and straight
from memory to memory by vLLM's own transfer engine (NCCL). Both need servers that were started with
VLLM_SERVER_DEV_MODE=1, and in both every wait has a deadline and says what it waited for.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from safetensors import SafetensorError

from agents.llm.generators.base import GenerationError
from agents.llm.policy.policy import Policy
from zs_env.search.http_client import HTTPLoop, RequestFailed, base_url


class Controls:
    """The control routes of vLLM servers, called on all of them at once.

    Args:
        servers: their base URLs.
        deadline_s: seconds that a call may take.
    """

    def __init__(self, servers: Sequence[str], *, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._roots = [base_url(url).removesuffix("/v1") for url in servers]
        self._http = HTTPLoop(connect_timeout_s=min(10.0, deadline_s))
        weakref.finalize(self, self._http.stop)

    def post(self, route: str, body: dict[str, Any] | None = None) -> None:
        """Post to a route of every server and wait for all.

        Raises:
            GenerationError: naming route, server and reason, if one does not answer in time.
        """
        calls = [
            (root, self._http.submit(self._http.post(f"{root}/{route}", self.deadline_s, body)))
            for root in self._roots
        ]
        for root, call in calls:
            try:
                call.result(timeout=2 * self.deadline_s)
            except RequestFailed as failure:
                raise GenerationError(
                    f"waited for {root}/{route} up to {self.deadline_s:g} s: {failure}; the server "
                    "must run, with VLLM_SERVER_DEV_MODE=1 in its environment"
                ) from None


class FolderSync:
    """Writes the weights into a folder and has the servers read them again.

    Args:
        servers: base URLs.
        folder: where the weights are written; the servers see it under the same path.
        deadline_s: seconds that the servers may take to read them.
    """

    def __init__(
        self, servers: Sequence[str], folder: str | Path, *, deadline_s: float = 300.0
    ) -> None:
        self._controls = Controls(servers, deadline_s=deadline_s)
        self._folder = Path(folder).resolve()
        self._num_sent = 0

    def send(self, policy: Policy) -> None:
        """Bring the weights and empty the prefix caches.

        Raises:
            GenerationError: if they could not be written, or were not read in time.
        """
        folder = self._folder / f"weights-{self._num_sent}"
        self._num_sent += 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            policy.save_merged(folder)
            arguments = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
            self._controls.post("collective_rpc", arguments)
            self._controls.post("reset_prefix_cache")
        except (OSError, SafetensorError) as error:
            raise GenerationError(f"the weights cannot be written to {folder}: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class NCCLSync:
    """Sends the weights from GPU to GPU by vLLM's own weight transfer; needs vllm installed here.

    The servers are started with `--weight-transfer-config '{"backend":"nccl"}'`.

    Args:
        servers: base URLs.
        master_address: of this process, as the servers reach it.
        master_port: free here.
        workers: GPUs of all servers together.
        deadline_s: seconds that a transfer may take.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        master_address: str,
        master_port: int,
        workers: int,
        deadline_s: float = 300.0,
    ) -> None:
        self._controls = Controls(servers, deadline_s=deadline_s)
        self._meeting = {"master_address": master_address, "master_port": master_port}
        self._workers = workers
        self._engine: Any = None

    def send(self, policy: Policy) -> None:
        """Bring the weights and empty the prefix caches.

        Raises:
            GenerationError: if a server did not take part in time.
        """
        if self._engine is None:
            self._engine = self._in_time("the servers to join NCCL", lambda: self._meet(policy))
        self._controls.post("pause?mode=wait")
        try:
            self._in_time("the weights to be received", self._engine.send_weights)
            self._controls.post("reset_prefix_cache")
        finally:
            self._controls.post("resume")

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Part of vLLM's client protocol, as the methods below."""
        self._controls.post("init_weight_transfer_engine", {"init_info": init_info})

    def start_weight_update(self) -> None:
        """Tell the servers that weights will come."""
        self._controls.post("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Tell the servers which weights come now; returns when they have come."""
        self._controls.post("update_weights", {"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Tell the servers that all weights have come."""
        self._controls.post("finish_weight_update")

    def _in_time(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what a call returns; one that hangs in NCCL is left behind in its thread."""
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except Exception as error:
                done.set_exception(error)

        Thread(target=run, name="weights to vLLM", daemon=True).start()
        try:
            return done.result(timeout=self._controls.deadline_s)
        except TimeoutError:
            raise GenerationError(
                f"waited for {what} up to {self._controls.deadline_s:g} s; see the servers' logs, "
                "and whether they reach master_address and master_port"
            ) from None

    def _meet(self, policy: Policy) -> Any:
        from vllm.distributed.weight_transfer.base import (  # type: ignore[import-not-found]
            ModuleSource,
        )
        from vllm.distributed.weight_transfer.nccl_engine import (  # type: ignore[import-not-found]
            NCCLTrainerInitInfo,
            NCCLTrainerWeightTransferEngine,
        )

        info = NCCLTrainerInitInfo(**self._meeting, world_size=1 + self._workers)
        return NCCLTrainerWeightTransferEngine.trainer_init(
            info, client=self, source=ModuleSource(policy.model)
        )
