"""Sends new weights to vLLM servers.

`FolderSync` writes them to a folder that the servers read, which works with every build of vLLM.
`NCCLSync` transfers them between GPUs with vLLM's weight transfer engine. Both need servers started
with VLLM_SERVER_DEV_MODE=1. Every wait has a deadline, and its error names what it waited for.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from safetensors import SafetensorError

from agents.llm.generators.base import GenerationError
from agents.llm.policy.lora import merged_weights
from agents.llm.policy.policy import Policy
from zs_env.search.http_client import HTTPLoop, RequestFailed, base_url
from zs_env.text.paths import local_path


class _ControlClient:
    """Calls the control routes of all servers at once, each within `deadline_s` seconds."""

    def __init__(self, servers: Sequence[str], *, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._roots = [base_url(url).removesuffix("/v1") for url in servers]
        self._http = HTTPLoop(connect_timeout_s=min(10.0, deadline_s))
        weakref.finalize(self, self._http.stop)

    def post(self, route: str, body: dict[str, Any] | None = None) -> None:
        """Post to a route of every server and wait for all answers.

        Raises:
            GenerationError: if a server does not answer in time.
        """
        calls = {}
        for root in self._roots:
            url = f"{root}/{route}"
            request = self._http.request("POST", url, self.deadline_s, body, parse=False)
            calls[url] = self._http.submit(request)
        for url, call in calls.items():
            try:
                call.result(timeout=2 * self.deadline_s)
            except RequestFailed as failure:
                raise GenerationError(
                    f"waited for {url} up to {self.deadline_s:g} s: {failure}; check that "
                    "the server runs with VLLM_SERVER_DEV_MODE=1"
                ) from None


class FolderSync:
    """Writes the weights to a folder and asks the servers to reload them.

    Args:
        servers: base URLs.
        folder: where the weights are written; the servers must see it under the same path.
        deadline_s: longest time for the servers to reload them, in seconds.
    """

    def __init__(
        self, servers: Sequence[str], folder: str | Path, *, deadline_s: float = 300.0
    ) -> None:
        self._controls = _ControlClient(servers, deadline_s=deadline_s)
        self._folder = local_path(folder).resolve()
        self._num_sent = 0
        for left in self._folder.glob("weights-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    def send(self, policy: Policy) -> None:
        """Send the weights and reset the prefix caches.

        Raises:
            GenerationError: if they cannot be written, or are not reloaded in time.
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
    """Sends the weights from GPU to GPU with vLLM's weight transfer; needs vllm installed here.

    Start the servers with `--weight-transfer-config '{"backend":"nccl"}'`.

    Args:
        servers: base URLs.
        master_address: address at which the servers reach this process.
        master_port: a free port of this process.
        workers: number of GPUs of all servers together.
        deadline_s: longest time for a transfer in seconds.
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
        self._controls = _ControlClient(servers, deadline_s=deadline_s)
        self._rendezvous = {"master_address": master_address, "master_port": master_port}
        self._workers = workers
        self._engine: Any = None

    def send(self, policy: Policy) -> None:
        """Send the weights and reset the prefix caches; see `FolderSync.send`."""
        if self._engine is None:
            self._engine = self._with_deadline(
                "the servers to join NCCL", lambda: self._join_nccl(policy)
            )
        self._controls.post("pause?mode=wait")
        try:
            self._with_deadline("the weights to be received", self._engine.send_weights)
            self._controls.post("reset_prefix_cache")
        finally:
            self._controls.post("resume")

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Method of vLLM's client protocol, like those below."""
        self._controls.post("init_weight_transfer_engine", {"init_info": init_info})

    def start_weight_update(self) -> None:
        self._controls.post("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        self._controls.post("update_weights", {"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._controls.post("finish_weight_update")

    def _with_deadline(self, what: str, call: Callable[[], Any]) -> Any:
        """Run a call in a thread with a deadline; a call that hangs in NCCL keeps its thread."""
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
                f"waited for {what} up to {self._controls.deadline_s:g} s; check the servers' "
                "logs, and that they reach master_address and master_port"
            ) from None

    def _join_nccl(self, policy: Policy) -> Any:
        from vllm.distributed.weight_transfer.base import (  # type: ignore[import-not-found]
            ParamMeta,
            WeightSource,
        )
        from vllm.distributed.weight_transfer.nccl_engine import (  # type: ignore[import-not-found]
            NCCLTrainerInitInfo,
            NCCLTrainerWeightTransferEngine,
        )

        class MergedWeights(WeightSource):
            """The policy's weights under the names of its base model, adapters merged."""

            def __iter__(self) -> Iterator[tuple[str, Any]]:
                return merged_weights(policy.model)

            def metadata(self) -> list[Any]:
                return [ParamMeta(name, one.dtype, tuple(one.shape)) for name, one in self]

        info = NCCLTrainerInitInfo(**self._rendezvous, world_size=1 + self._workers)
        return NCCLTrainerWeightTransferEngine.trainer_init(
            info, client=self, source=MergedWeights()
        )
