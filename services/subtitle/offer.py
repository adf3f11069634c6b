"""The node itself: the modules with tasks declare them on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nodekit import Node, TaskFailed
from services.subtitle.faults import SubtitleFault

node = Node("wservice", slots=2)


@contextmanager
def faults() -> Iterator[None]:
    """Turn a fault of the work into the task's failure."""
    try:
        yield
    except SubtitleFault as fault:
        raise TaskFailed(fault.code, fault.message, field=fault.field) from None
