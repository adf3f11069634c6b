"""`make run`: the whole stack on this machine until Ctrl-C; `python -m stack ffmpeg asr` starts these nodes only."""

from __future__ import annotations

import asyncio
import sys

from runtime.process import Shutdown, run_process
from runtime.settings import TracesSection, load_settings
from stack.assembly import Stack
from stack.folder_lock import FolderTaken
from stack.node_table import UnknownNode
from stack.part import PartFailed
from stack.settings import StackSettings


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


async def main(settings: StackSettings, shutdown: Shutdown) -> None:
    """Run the stack until told to stop; the start is broken off by `run_process`."""
    try:
        stack = Stack(settings.stack, say)
        async with stack.running():
            say(_card(settings, stack))
            await shutdown.wait()
            say(
                "stopping; running tasks get their time to end, then they are handed back (Ctrl-C again: at once) …"
            )
        say("stopped")
    except asyncio.CancelledError:
        if shutdown.requested:
            say("stopped before it was up")
        raise
    except (PartFailed, UnknownNode, FolderTaken) as failure:
        sys.exit(f"the stack cannot start: {failure}")


def _card(settings: StackSettings, stack: Stack) -> str:
    return (
        f"YiVideo is up: {', '.join(name for name in stack.part_names if name not in stack.failed)}\n"
        f"  REST     {stack.url}   (pages: {stack.url}/docs)\n"
        f"  gRPC     scheduler {', '.join(stack.schedulers)}, {_nodes(stack)}"
        f"gpulock {', '.join(stack.gpulocks)}\n"
        f"  devices  {', '.join(device.name for device in stack.devices)}   "
        f"({stack.url}/v1/monitoring/gpu-lock/status)\n"
        f"  token    {stack.token}   (header `authorization: Bearer …` of gRPC calls)\n"
        f"  figures  {stack.url}/metrics/targets\n"
        f"  logs     {settings.stack.folder / 'logs'}\n"
        f"{_absent(stack)}"
        "Ctrl-C stops it."
    )


def _nodes(stack: Stack) -> str:
    return "".join(f"{node.row.name} {', '.join(node.addresses)}, " for node in stack.nodes)


def _absent(stack: Stack) -> str:
    lines = [f"  left out {absent}\n" for absent in stack.left_out]
    lines += [
        f"  lesser   {node.row.name}: {'; '.join(node.lacking)}\n" for node in stack.nodes if node.lacking
    ]
    lines += [f"  failed   {name}: {reason}\n" for name, reason in stack.failed.items()]
    return "".join(lines)


if __name__ == "__main__":
    loaded = load_settings(StackSettings)
    if sys.argv[1:]:
        loaded = loaded.model_copy(
            update={"stack": loaded.stack.model_copy(update={"only": tuple(sys.argv[1:])})}
        )
    quiet = loaded.runtime.model_copy(
        # What it does is no part of any request: its parts make the spans.
        update={
            "metrics_listen": "",
            "log_format": "console",
            "log_level": "warning",
            "traces": TracesSection(),
        }
    )
    run_process("stack", quiet, lambda shutdown: main(loaded, shutdown))
