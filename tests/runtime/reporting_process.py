"""A process that logs what it is told to by its argument, and reports to the Sentry server that its settings name."""

from __future__ import annotations

import logging
import sys

from runtime import context
from runtime.logs import get_logger
from runtime.process import Shutdown, run_process
from runtime.settings import ProcessSettings, load_settings

log = get_logger("room")


def broken(payload: str) -> None:
    """Fail as a bug does that meets a payload."""
    own_copy = payload * 2
    raise KeyError(own_copy)


async def main(_: Shutdown) -> None:
    """Log."""
    payload = "".join(("eve", "-private"))  # not as a word in a line of code, which a report shows
    with context.bound(task="task-1", trace=f"00-{'ab' * 16}-{'cd' * 8}-01", request="request-1"):
        for __ in range(300 if sys.argv[1] == "many" else 1):
            try:
                broken(payload)
            except KeyError as error:
                if sys.argv[1] in ("fault", "many"):
                    log.exception("call failed", method="GetTask", path=payload)
                if sys.argv[1] == "harmless":
                    log.warning("not so bad", exc_info=error)
                    log.error("worker died", code=payload)
                if sys.argv[1] == "library":
                    logging.getLogger("asyncio").error(payload, exc_info=error)
                if sys.argv[1] == "die":
                    raise


if __name__ == "__main__":
    run_process("served", load_settings(ProcessSettings).runtime, main)
