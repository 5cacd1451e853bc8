"""Commands and ranks as processes, forked from one that has imported everything."""

import multiprocessing
import os
import pickle
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

import torch

from agents.llm.distributed.context import init_distributed

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    [
        "agents.llm.trainer.loop",
        "agents.cli.training.train",
        "matplotlib.figure",
        "agents.cli.main",
        "torch.distributed.fsdp",
    ]
)


def run_command(*argv: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run `zerosearch` in a process of its own; the environment is added to this process's own."""
    with TemporaryDirectory() as folder:
        output, errors = Path(folder, "stdout"), Path(folder, "stderr")
        settings = {**os.environ, **(environment or {})}
        process = CHILDREN.Process(target=_be_command, args=(argv, settings, output, errors))
        process.start()
        process.join()
        assert process.exitcode is not None
        return CompletedProcess(argv, process.exitcode, output.read_text(), errors.read_text())


def write_to(output: Path, errors: Path) -> None:
    """Send all that this process prints to files from now on."""
    for stream, path in ((sys.stdout, output), (sys.stderr, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)


def _be_command(
    argv: tuple[str, ...], environment: Mapping[str, str], output: Path, errors: Path
) -> None:
    from agents.cli.main import main

    os.environ.update(environment)
    write_to(output, errors)
    raise SystemExit(main(argv))


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


def be_torchrun(folder: Path, size: int, argv: Sequence[str]) -> None:
    """Train on several ranks with the launcher of torchrun.

    Args:
        folder: gets the output of all ranks as `output.txt`, and their process ids as `rank-N`.
        size: number of ranks.
        argv: arguments of `zerosearch train`.
    """
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    write_to(folder / "output.txt", folder / "output.txt")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=size,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        start_method="forkserver",
    )
    elastic_launch(config, _be_launched)(folder, argv)


def _be_launched(folder: Path, argv: Sequence[str]) -> None:
    from agents.cli.training.train import main

    write_to(folder / "output.txt", folder / "output.txt")
    (folder / f"rank-{os.environ['RANK']}").write_text(str(os.getpid()))
    torch.set_num_threads(1)
    status = main(argv)
    if status:
        raise SystemExit(status)


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
    with init_distributed(os.environ, deadline_s=deadline_s) as distributed:
        answer = work(distributed, *pickle.loads(sent.read_bytes()))
    torch.save(answer, folder / f"answer-{distributed.rank}.pt")
