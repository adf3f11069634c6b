"""serve: what a node's `__main__` calls."""

from __future__ import annotations

from nodekit.node import Node
from nodekit.replica import Replica
from nodekit.settings import NodeSettings
from runtime.process import Shutdown, run_process
from runtime.settings import load_settings


def serve(node: Node) -> None:
    """Run one replica of the node until SIGTERM or SIGINT, then drain: finish or hand back what is running, and end."""
    settings = load_settings(NodeSettings)

    async def main(shutdown: Shutdown) -> None:
        async with Replica(node, settings, own_process=True).running():
            await shutdown.wait()

    run_process(node.name, settings.runtime, main)
