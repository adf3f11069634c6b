"""The gateway process: `python -m gateway`."""

from __future__ import annotations

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.process import Shutdown, run_process
from runtime.settings import load_settings


def main() -> None:
    """Serve until told to stop."""
    settings = load_settings(GatewaySettings)

    async def live(shutdown: Shutdown) -> None:
        async with serving(settings):
            await shutdown.wait()

    run_process("gateway", settings.runtime, live)


if __name__ == "__main__":
    main()
