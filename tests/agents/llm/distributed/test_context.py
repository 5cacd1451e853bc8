"""Collective operations return the same values, and raise the same errors, on every rank."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.llm.distributed.context import (
    SINGLE_PROCESS,
    DistributedContext,
    RankLostError,
    init_distributed,
)
from agents.llm.distributed.stop_signal import Stopped
from tests.agents.llm.distributed.rank_processes import on_ranks

SIZES = (2, 4)


class _AwkwardError(Exception):
    """Cannot be unpickled: it wants two arguments and keeps one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


def _raised(distributed: DistributedContext, errors: dict[int, BaseException]) -> str:
    """The error of this rank when some ranks raise."""

    def work() -> list[int]:
        if distributed.rank in errors:
            raise errors[distributed.rank]
        return [distributed.rank]

    try:
        distributed.gather(work, "work")
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def _run_collectives(distributed: DistributedContext) -> dict[str, Any]:
    last = distributed.world_size - 1
    stopped, failure = Stopped(), ValueError("no such page")
    return {
        "gathered": distributed.all_gather(distributed.rank**2, "square"),
        "summed": distributed.all_reduce(torch.tensor([1.0, distributed.rank]), "sum"),
        "concatenated": distributed.gather(lambda: distributed.shard("abcde"), "spell"),
        "main": distributed.run_on_main(lambda: f"rank {distributed.rank}", "write"),
        "failure": _raised(distributed, {last: failure}),
        "stop": _raised(distributed, {0: stopped}),
        "stop and failure": _raised(distributed, {0: stopped, last: failure}),
        "awkward": _raised(distributed, {last: _AwkwardError(1, "odd")}),
        "nothing": _raised(distributed, {}),
    }


@pytest.fixture(scope="module", params=SIZES)
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return on_ranks(tmp_path_factory.mktemp("ranks"), request.param, _run_collectives)


def test_collectives_return_values_in_rank_order(answers: list[Any]) -> None:
    size = len(answers)
    for answer in answers:
        assert answer["gathered"] == [rank**2 for rank in range(size)]
        assert answer["summed"].tolist() == [size, sum(range(size))]
        assert answer["concatenated"] == list("abcde")
        assert answer["main"] == "rank 0"


def test_an_error_on_one_rank_is_raised_on_all(answers: list[Any]) -> None:
    for answer in answers:
        assert answer["failure"] == "ValueError: no such page"
        assert answer["stop"] == "Stopped: "
        # A failing job sends SIGTERM to all of its ranks.
        assert answer["stop and failure"] == "ValueError: no such page"
        assert answer["awkward"] == "RuntimeError: _AwkwardError: odd"
        assert answer["nothing"] == "nothing"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_shards_are_consecutive_complete_and_balanced(size: int, count: int) -> None:
    shards = [
        DistributedContext(rank=rank, world_size=size).shard(range(count)) for rank in range(size)
    ]
    assert [item for shard in shards for item in shard] == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_single_process_opens_no_group_and_copies_nothing() -> None:
    value = torch.ones(2)
    with init_distributed({}, deadline_s=1.0) as distributed:
        assert (distributed.rank, distributed.world_size, distributed.is_main) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        assert distributed.all_reduce(value, "sum") is value
        assert distributed.all_gather(value, "gather")[0] is value
    with pytest.raises(ZeroDivisionError):
        SINGLE_PROCESS.run_on_main(lambda: 1 // 0, "divide")


def _lose_one(distributed: DistributedContext, how: str, sign: Path) -> str:
    """Rank 0 waits for rank 1, which dies or never arrives."""
    distributed.all_gather(None, "meet")
    if not distributed.is_main:
        if how == "dies":
            os._exit(0)
        while not sign.exists():
            time.sleep(0.01)
        os._exit(0)
    try:
        distributed.all_gather(None, "count the pages")
    except RankLostError as error:
        sign.touch()
        # A broken group cannot be destroyed cleanly.
        (sign.parent / "message").write_text(str(error))
        os._exit(0)
    return ""


@pytest.mark.parametrize(("how", "cause"), [("dies", "onnection"), ("hangs", "imed out")])
def test_the_error_of_a_lost_rank_names_the_operation(tmp_path: Path, how: str, cause: str) -> None:
    with pytest.raises(FileNotFoundError):  # no rank writes an answer
        on_ranks(tmp_path, 2, _lose_one, how, tmp_path / "sign", deadline_s=5.0)
    message = (tmp_path / "message").read_text()
    assert "rank 0 of 2 lost another rank while it tried to count the pages" in message
    assert "deadline 5 s" in message and "--resume" in message and cause in message


def test_other_errors_keep_their_name() -> None:
    caught = pytest.raises(RuntimeError, match="shape")
    with caught as error, DistributedContext(world_size=2).waiting_for("multiply"):
        raise RuntimeError("shapes differ")
    assert not isinstance(error.value, RankLostError)
