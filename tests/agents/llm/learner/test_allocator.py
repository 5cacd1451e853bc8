import sys
from pathlib import Path

import pytest
import torch

from agents.llm.learner.allocator import keep_freed_memory
from tests.agents.llm.distributed.rank_processes import CHILDREN


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def _measure(keep: bool, result: Path) -> None:
    """Write how much memory the process holds after it has freed 256 MiB; nan without glibc."""
    if keep and not keep_freed_memory():
        result.write_text("nan")
        return
    torch.ones(1)
    before = _resident_mib()
    torch.ones(2**26)  # 256 MiB, gone at once
    result.write_text(str(_resident_mib() - before))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_tensor_frees_stays_with_the_process(tmp_path: Path) -> None:
    def left(keep: bool) -> float:
        result = tmp_path / f"{keep}.txt"
        process = CHILDREN.Process(target=_measure, args=(keep, result))
        process.start()
        process.join()
        assert process.exitcode == 0
        return float(result.read_text())

    kept = left(True)
    if kept != kept:
        pytest.skip("the C library is not glibc")
    assert kept > 200
    assert left(False) < 50
