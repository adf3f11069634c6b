"""`python -m gpulock`: one replica of the lock service."""

from __future__ import annotations

import gc

from gpulock.app import leasing
from gpulock.settings import GpulockSettings
from runtime.process import Shutdown, run_process
from runtime.settings import load_settings


def main() -> None:
    """Run until told to stop; then send clients and watchers to other replicas."""
    settings = load_settings(GpulockSettings)

    async def serve(shutdown: Shutdown) -> None:
        async with leasing(settings):
            gc.collect()
            gc.freeze()  # what was loaded stays: no full collection has to look at it while somebody waits for a grant
            await shutdown.wait()

    run_process("gpulock", settings.runtime, serve)


if __name__ == "__main__":
    main()
