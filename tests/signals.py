"""Signals that a test run may have been started to ignore: SIGINT behind a shell's `&`, SIGHUP by nohup. Children inherit that."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_BY_DEFAULT: Mapping[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}


@contextmanager
def heeded() -> Iterator[None]:
    """Have programs that are started in the block heed them, however this run was started."""
    ignored = [number for number in _BY_DEFAULT if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, _BY_DEFAULT[number])
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
