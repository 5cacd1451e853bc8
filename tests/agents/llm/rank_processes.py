"""The ranks of a run as processes, forked from one that has imported everything."""

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from agents.llm.ranks import open_ranks

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    ["agents.llm.train", "agents.llm.train_command", "torch.distributed.fsdp"]
)


def start_ranks(size: int, work: Callable[..., object], *arguments: Any) -> list[BaseProcess]:
    """Processes that call `work(*arguments)` in an environment as torchrun makes it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(size):
        shared = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {"RANK": rank, "LOCAL_RANK": rank, **shared}
        process = CHILDREN.Process(target=_be_rank, args=(environment, work, arguments))
        process.start()
        processes.append(process)
    return processes


def on_ranks(
    folder: Path, size: int, work: Callable[..., Any], *arguments: Any, deadline_s: float = 300.0
) -> list[Any]:
    """What `work(ranks, *arguments)` returns on each of some ranks; each must end well."""
    sent = folder / "arguments.pickle"
    # Tensors inside are sent as bytes: shared memory would outlive a child that fails.
    sent.write_bytes(pickle.dumps(arguments))
    processes = start_ranks(size, _keep_answer, folder, work, sent, deadline_s)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * size
    return [torch.load(folder / f"answer-{r}.pt", weights_only=False) for r in range(size)]


def _be_rank(environment: dict[str, Any], work: Callable[..., Any], arguments: tuple) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    torch.set_num_threads(1)
    status = work(*arguments)
    if status:
        raise SystemExit(status)


def _keep_answer(folder: Path, work: Callable[..., Any], sent: Path, deadline_s: float) -> None:
    with open_ranks(os.environ, deadline_s=deadline_s) as ranks:
        answer = work(ranks, *pickle.loads(sent.read_bytes()))
    torch.save(answer, folder / f"answer-{ranks.rank}.pt")
