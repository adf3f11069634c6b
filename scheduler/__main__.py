"""`python -m scheduler`: one scheduler replica."""

from __future__ import annotations

from runtime.process import Shutdown, run_process
from runtime.settings import load_settings
from scheduler.app import scheduling
from scheduler.settings import SchedulerSettings


def main() -> None:
    """Run until told to stop; then claim nothing more, tell watchers to go elsewhere, and let go of all attempts."""
    settings = load_settings(SchedulerSettings)

    async def serve(shutdown: Shutdown) -> None:
        async with scheduling(settings):
            await shutdown.wait()

    run_process("scheduler", settings.runtime, serve, stays_seconds=settings.scheduler.hand_back_seconds)


if __name__ == "__main__":
    main()
