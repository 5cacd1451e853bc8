import subprocess
import sys

import pytest

_PROGRAM = """
import sys, torch
from agents.llm.learner.allocator import keep_freed_memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "keep" and not keep_freed_memory():
    print("nan")
    raise SystemExit
torch.ones(1)
before = resident_mib()
torch.ones(2**26)  # 256 MiB, gone at once
print(resident_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_tensor_frees_stays_with_the_process():
    def left(how):
        command = [sys.executable, "-c", _PROGRAM, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout)

    kept = left("keep")
    if kept != kept:
        pytest.skip("the C library is not glibc")
    assert kept > 200
    assert left("give back") < 50
