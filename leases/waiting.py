"""Why a request waits, in words for people."""

from __future__ import annotations

from collections.abc import Sequence


def waiting_reason(held: Sequence[tuple[str, str]], drained: Sequence[str] = ()) -> str:
    """Say why nothing is free: from the devices that would do and who holds some of each, and those that are being drained."""
    if not held:
        return f"{drained[0]} is being drained" if drained else "others are before it"
    device, holder = held[0]
    return f"{device} is held by {holder}" + (f" and {len(held) - 1} more" if len(held) > 1 else "")
