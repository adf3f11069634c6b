"""What the embedded stack is made of."""

from __future__ import annotations

from pathlib import Path

from stack.assembly import Stack
from stack.settings import StackSection


def test_leases_have_a_redis_of_their_own_unless_one_is_to_keep_all(tmp_path: Path) -> None:
    """By default the store that waits for the disk is not the one that hands devices over; one for both stays possible."""
    two = Stack(StackSection(folder=tmp_path))
    assert two.lease_redis != two.redis
    one = Stack(StackSection(folder=tmp_path, lease_redis=False))
    assert one.lease_redis == one.redis
