"""Processes of one run tell each other the same, also about what goes wrong."""

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
    open_ranks,
)
from agents.llm.distributed.stop_signal import Stopped
from tests.agents.llm.distributed.rank_processes import on_ranks

SIZES = (2, 4)


class _AwkwardError(Exception):
    """Cannot be unpickled: it wants two arguments and keeps one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


def _raised(ranks: DistributedContext, errors: dict[int, BaseException]) -> str:
    """What all ranks meet where some raise."""

    def work() -> list[int]:
        if ranks.rank in errors:
            raise errors[ranks.rank]
        return [ranks.rank]

    try:
        ranks.together(work, "work")
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def _tell_each_other(ranks: DistributedContext) -> dict[str, Any]:
    last = ranks.size - 1
    stopped, failure = Stopped(), ValueError("no such page")
    return {
        "gathered": ranks.gather(ranks.rank**2, "square"),
        "summed": ranks.sum(torch.tensor([1.0, ranks.rank]), "sum"),
        "together": ranks.together(lambda: ranks.share("abcde"), "spell"),
        "first": ranks.run_on_main(lambda: f"rank {ranks.rank}", "write"),
        "failure": _raised(ranks, {last: failure}),
        "stop": _raised(ranks, {0: stopped}),
        "stop and failure": _raised(ranks, {0: stopped, last: failure}),
        "awkward": _raised(ranks, {last: _AwkwardError(1, "odd")}),
        "nothing": _raised(ranks, {}),
    }


@pytest.fixture(scope="module", params=SIZES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return on_ranks(tmp_path_factory.mktemp("told"), request.param, _tell_each_other)


def test_all_ranks_get_what_each_has_in_their_order(told: list[Any]) -> None:
    size = len(told)
    for answer in told:
        assert answer["gathered"] == [rank**2 for rank in range(size)]
        assert answer["summed"].tolist() == [size, sum(range(size))]
        assert answer["together"] == list("abcde")
        assert answer["first"] == "rank 0"


def test_what_one_rank_raises_all_raise(told: list[Any]) -> None:
    for answer in told:
        assert answer["failure"] == "ValueError: no such page"
        assert answer["stop"] == "Stopped: "
        # The signal comes to all ranks of a job that has met a failure.
        assert answer["stop and failure"] == "ValueError: no such page"
        assert answer["awkward"] == "RuntimeError: _AwkwardError: odd"
        assert answer["nothing"] == "nothing"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_shares_are_consecutive_whole_and_of_like_length(size: int, count: int) -> None:
    shares = [DistributedContext(rank=rank, size=size).share(range(count)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_alone_opens_no_group_and_copies_nothing() -> None:
    value = torch.ones(2)
    with open_ranks({}, deadline_s=1.0) as ranks:
        assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        assert ranks.sum(value, "sum") is value
        assert ranks.gather(value, "gather")[0] is value
    with pytest.raises(ZeroDivisionError):
        SINGLE_PROCESS.run_on_main(lambda: 1 // 0, "divide")


def _lose_one(ranks: DistributedContext, how: str, sign: Path) -> str:
    """The first rank waits for a second one that dies or does not come."""
    ranks.gather(None, "meet")
    if not ranks.first:
        if how == "dies":
            os._exit(0)
        while not sign.exists():
            time.sleep(0.01)
        os._exit(0)
    try:
        ranks.gather(None, "count the pages")
    except RankLostError as error:
        sign.touch()
        # The group cannot be closed in good order.
        (sign.parent / "said").write_text(str(error))
        os._exit(0)
    return ""


@pytest.mark.parametrize(("how", "cause"), [("dies", "onnection"), ("hangs", "imed out")])
def test_a_lost_rank_is_an_error_that_says_what_was_waited_for(
    tmp_path: Path, how: str, cause: str
) -> None:
    with pytest.raises(FileNotFoundError):  # nobody comes to an answer
        on_ranks(tmp_path, 2, _lose_one, how, tmp_path / "sign", deadline_s=5.0)
    said = (tmp_path / "said").read_text()
    assert "rank 0 of 2 lost another rank while they were to count the pages" in said
    assert "deadline 5 s" in said and "--resume" in said and cause in said


def test_other_errors_keep_their_name() -> None:
    caught = pytest.raises(RuntimeError, match="shape")
    with caught as error, DistributedContext(size=2).waiting_for("multiply"):
        raise RuntimeError("shapes differ")
    assert not isinstance(error.value, RankLostError)
