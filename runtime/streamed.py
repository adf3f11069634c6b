"""A call whose answers come one by one, for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def streamed(call: Any) -> Iterator[Any]:
    """Give a streaming call, and cancel it when the block is left, which does nothing once it has ended.

    One that is only forgotten ends when the garbage collector comes to it, and until then the other side goes on for nobody.
    """
    try:
        yield call
    finally:
        call.cancel()
