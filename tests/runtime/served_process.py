"""A process as every room writes one: a gRPC server under run_process. The process tests start it as a child.

The first argument picks what `main` does; it prints `<grpc address>` on standard output once it serves.
"""

from __future__ import annotations

import asyncio
import sys

from runtime.process import Shutdown, run_process
from runtime.server import RpcServer
from runtime.settings import ProcessSettings, load_settings
from yivideo.task.v1 import task_pb2, task_pb2_grpc


class Servicer(task_pb2_grpc.TaskServiceServicer):
    """Answers at once, or (WatchTask) runs until its client leaves."""

    async def GetTask(self, request, context):  # type: ignore[no-untyped-def]
        return task_pb2.Task()

    async def WatchTask(self, request, context):  # type: ignore[no-untyped-def]
        yield task_pb2.TaskEvent(sequence=1)
        await asyncio.Event().wait()


async def serve(settings: ProcessSettings, shutdown: Shutdown) -> None:
    """Serve until told to stop, then drain."""
    server = RpcServer(settings.runtime)
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), "yivideo.task.v1.TaskService")
    async with server.running() as address:
        print(address, type(asyncio.get_running_loop()).__module__, flush=True)
        await shutdown.wait()


def main() -> None:
    """Run as told by the first argument."""
    settings = load_settings(ProcessSettings)

    async def live(shutdown: Shutdown) -> None:
        if sys.argv[1] == "die":
            raise RuntimeError("no way on")
        if sys.argv[1] == "never-up":
            print("starting never", flush=True)
            await asyncio.Event().wait()
        await serve(settings, shutdown)

    run_process("served", settings.runtime, live)


if __name__ == "__main__":
    main()
