"""The heap settings, measured where they act: in the page faults of a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MEASURE = """
import resource, sys
from runtime.heap import keep_large_blocks
if sys.argv[1] == "keep" and not keep_large_blocks():
    sys.exit(77)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [bytearray(b"x") * (1 << 20) for _ in range(8)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, mode], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if done.returncode == 77:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_blocks_are_reused() -> None:
    """Eight messages of 1 MiB at a time, fifty times over, touch their pages once instead of fifty times."""
    kept, given_back = faults("keep"), faults("default")
    assert kept < 5_000
    assert given_back > 4 * kept


HOLES = """
import sys
from pathlib import Path
from runtime.heap import give_back_large_blocks
if sys.argv[1] == "give back" and not give_back_large_blocks():
    sys.exit(77)
def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256
bytearray(b"x") * (30 << 20)  # freed: glibc takes it for the size from which blocks are the kernel's
before = resident_mib()
large = [bytearray(b"x") * (4 << 20) for _ in range(24)]
stays = bytearray(b"x") * 100_000
del large
print(resident_mib() - before)
"""


def left_mib(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HOLES, mode], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if done.returncode == 77:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_models_tensors_leave_no_holes() -> None:
    """Ninety megabytes of freed tensors below a block that stays go back to the kernel; by default they are kept."""
    assert left_mib("default") > 80
    assert left_mib("give back") < 8


GARBAGE = """
import gc, sys
from runtime.heap import look_for_garbage_seldom
if sys.argv[1] == "seldom":
    look_for_garbage_seldom()
class Knot:
    def __init__(self): self.me = self
before, alive = gc.get_stats()[0]["collections"], gc.get_count()[0]
for _ in range(200_000):
    Knot()
looks = gc.get_stats()[0]["collections"] - before
left = sum(isinstance(one, Knot) for one in gc.get_objects())
print(looks, left)
"""


def garbage(mode: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE, mode],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    looks, left = done.stdout.split()
    return int(looks), int(left)


def test_garbage_is_looked_for_seldom_and_still_found() -> None:
    """Objects in cycles are looked for a tenth as often, and what is left of them at any time stays bounded."""
    seldom, left = garbage("seldom")
    often, _ = garbage("default")
    assert 0 < seldom * 10 <= often
    assert left < 50_000
