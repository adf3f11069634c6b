"""`yivideo dev node`: runs a node of yours and starts it again when its files change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from yivideo_client.cli.failures import Terminated, UsageError, told

app = typer.Typer(no_args_is_help=True, help="For those who write nodes.")

POLL_SECONDS = 0.5
DRAIN_SECONDS = 10.0
"""How long a node may take to end before it is killed."""


@app.callback()
def _group() -> None:
    """For those who write nodes."""


def newest_change(folder: Path) -> tuple[int, int]:
    """Return how many sources a folder has, and when the last one was written (ns)."""
    times = [path.stat().st_mtime_ns for path in folder.rglob("*.py") if path.is_file()]
    return len(times), max(times, default=0)


@app.command()
def node(
    module: Annotated[str, typer.Argument(help="What `python -m` starts, for example services.words.")],
    listen: Annotated[str, typer.Option(help="Address of the node's gRPC server.")] = "127.0.0.1:7900",
    root: Annotated[
        Path | None, typer.Option(help="Folder whose files its tasks may read; default: here.")
    ] = None,
) -> None:
    """Run a node alone and reload it on changes; Ctrl-C ends it.

    A scheduler reaches it when its settings name the address (YIVIDEO_SCHEDULER__NODES); any gRPC client does too.
    """
    with told():
        sys.path.insert(0, str(Path.cwd()))
        try:
            spec = find_spec(module)
        except Exception as error:  # whatever the packages above it do when they are loaded
            raise UsageError(f"the module {module!r} cannot be found: {error}") from error
        if spec is None or spec.origin is None:
            raise UsageError(
                f"there is no module {module!r} here; start from the folder that holds its package"
            )
        folder = Path(spec.origin).parent
        environment = {
            "YIVIDEO_RUNTIME__LISTEN": listen,
            "YIVIDEO_NODE__ALLOWED_ROOTS": f'["{(root or Path.cwd()).resolve()}"]',
            **os.environ,
        }
        _supervise([sys.executable, "-m", module], environment, folder)


def _supervise(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Keep a command running, over changes of its files, until this process is interrupted or told to end; then it ends, too."""
    signal.signal(signal.SIGTERM, _terminated)
    child: subprocess.Popen[bytes] | None = None
    seen = newest_change(folder)
    try:
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        while True:
            time.sleep(POLL_SECONDS)
            now = newest_change(folder)
            if now != seen:
                seen = now
                print("changed; starts again", file=sys.stderr, flush=True)
                _end(child)
                child = subprocess.Popen(command, env=environment, start_new_session=True)
            elif child.poll() is not None:
                print(
                    f"ended with {child.returncode}; starts again when a file changes",
                    file=sys.stderr,
                    flush=True,
                )
                while newest_change(folder) == seen:
                    time.sleep(POLL_SECONDS)
    finally:
        if child is not None:
            _end(child)


def _terminated(*_: object) -> NoReturn:
    raise Terminated


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
