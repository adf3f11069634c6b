"""`make run`: the whole stack on this machine until Ctrl-C; `python -m stack ffmpeg asr` starts these nodes only."""

from __future__ import annotations

import sys

from runtime.process import Shutdown, run_process
from runtime.settings import load_settings
from stack.assembly import Stack
from stack.node_table import UnknownNode
from stack.part import PartFailed
from stack.settings import StackSettings


async def main(settings: StackSettings, shutdown: Shutdown) -> None:
    """Run the stack until told to stop."""
    try:
        stack = Stack(settings.stack)
        async with stack.running():
            print(
                f"YiVideo is up: {', '.join(stack.part_names)}\n"
                f"  REST     {stack.url}   (pages: {stack.url}/docs)\n"
                f"  gRPC     scheduler {', '.join(stack.schedulers)}, {_nodes(stack)}"
                f"gpulock {', '.join(stack.gpulocks)}\n"
                f"  devices  {', '.join(device.name for device in stack.devices)}   "
                f"({stack.url}/v1/monitoring/gpu-lock/status)\n"
                f"  token    {stack.token}   (header `authorization: Bearer …` of gRPC calls)\n"
                f"  logs     {settings.stack.folder / 'logs'}\n"
                f"{_absent(stack)}"
                "Ctrl-C stops it.",
                flush=True,
            )
            await shutdown.wait()
            print("stopping …", flush=True)
    except (PartFailed, UnknownNode) as failure:
        sys.exit(f"the stack cannot start: {failure}")


def _nodes(stack: Stack) -> str:
    return "".join(f"{node.row.name} {', '.join(node.addresses)}, " for node in stack.nodes)


def _absent(stack: Stack) -> str:
    lines = [f"  left out {absent}\n" for absent in stack.left_out]
    lines += [f"  failed   {name}: {reason}\n" for name, reason in stack.failed.items()]
    return "".join(lines)


if __name__ == "__main__":
    loaded = load_settings(StackSettings)
    if sys.argv[1:]:
        loaded = loaded.model_copy(
            update={"stack": loaded.stack.model_copy(update={"only": tuple(sys.argv[1:])})}
        )
    quiet = loaded.runtime.model_copy(
        update={"metrics_listen": "", "log_format": "console", "log_level": "warning"}
    )
    run_process("stack", quiet, lambda shutdown: main(loaded, shutdown))
