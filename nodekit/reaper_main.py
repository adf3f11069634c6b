"""The reaper's own program: `reaper_main.py <mark prefix> <folder or empty>`; see `nodekit.reaper`.

Runs isolated and without site-packages, so it loads the process tree module from the file beside it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys


def main(prefix: str, folder: str) -> None:
    """Wait until standard input closes, then end the node's children."""
    # A signal to the node's terminal or pod must not end the reaper before the node.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - pathlib would triple its size
    from process_tree import end_tree  # type: ignore[import-not-found]

    end_tree(prefix)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
