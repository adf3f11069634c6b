"""`make run`: the whole stack on this machine until Ctrl-C."""

from __future__ import annotations

import sys

from runtime.process import Shutdown, run_process
from runtime.settings import load_settings
from stack.assembly import Stack
from stack.part import PartFailed
from stack.settings import StackSettings


async def main(settings: StackSettings, shutdown: Shutdown) -> None:
    """Run the stack until told to stop."""
    stack = Stack(settings.stack)
    try:
        async with stack.running():
            print(
                f"YiVideo is up: {', '.join(stack.part_names)}\n"
                f"  REST     {stack.url}   (pages: {stack.url}/docs)\n"
                f"  gRPC     scheduler {', '.join(stack.schedulers)}, ffmpeg {', '.join(stack.ffmpeg_nodes)}, "
                f"gpulock {', '.join(stack.gpulocks)}\n"
                f"  devices  {', '.join(device.name for device in stack.devices)}   "
                f"({stack.url}/v1/monitoring/gpu-lock/status)\n"
                f"  token    {stack.token}   (header `authorization: Bearer …` of gRPC calls)\n"
                f"  logs     {settings.stack.folder / 'logs'}\n"
                "Ctrl-C stops it.",
                flush=True,
            )
            await shutdown.wait()
            print("stopping …", flush=True)
    except PartFailed as failure:
        sys.exit(f"the stack cannot start: {failure}")


if __name__ == "__main__":
    loaded = load_settings(StackSettings)
    quiet = loaded.runtime.model_copy(
        update={"metrics_listen": "", "log_format": "console", "log_level": "warning"}
    )
    run_process("stack", quiet, lambda shutdown: main(loaded, shutdown))
