"""Where the command `yivideo` begins: before more is loaded it can be interrupted without a traceback, and has all its streams."""

from __future__ import annotations

import os
import signal
import sys
from typing import Literal, TextIO


def main() -> None:
    """Start the command line."""
    by_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if by_default:  # else whoever started this does not want it interrupted
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_streams()
    from yivideo_client.cli.main import main as command

    if by_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _open_streams() -> None:
    """Give a stream that was closed (`>&-`, `<&-`) to the void: else a file or a connection would be opened in its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # has the lowest number that is free
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stdout is None:
        sys.stdout = _nowhere("w")
    if sys.stderr is None:
        sys.stderr = _nowhere("w")


def _nowhere(mode: Literal["r", "w"]) -> TextIO:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123 - for as long as the process


if __name__ == "__main__":
    main()
