"""Runs the filestore: `python -m filestore`."""

from __future__ import annotations

import asyncio

from filestore.backend import Backend
from filestore.housekeeping import keeping_house
from filestore.local import LocalBackend
from filestore.s3 import S3Backend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection, FilestoreSettings
from filestore.signing import UrlSigner
from filestore.store import FileStore
from filestore.wire import add_file_service
from runtime.errors import Unavailable
from runtime.logs import get_logger
from runtime.process import Shutdown, run_process
from runtime.server import RpcServer
from runtime.settings import load_settings

log = get_logger(__name__)

_MAX_WAIT_SECONDS = 5.0


def make_backend(section: FilestoreSection) -> Backend:
    """Return the backend that the settings name, not started."""
    key = section.url_key.get_secret_value().encode() if section.url_key else None
    if section.backend == "local":
        return LocalBackend(section.root, threads=section.threads, signing_key=key)
    return S3Backend(section.s3, threads=section.threads, signer=UrlSigner(key) if key else None)


async def serve(settings: FilestoreSettings, shutdown: Shutdown) -> None:
    """Serve until told to stop; waits for a store that is not there yet."""
    store = FileStore(make_backend(settings.filestore), settings.filestore)
    server = RpcServer(settings.runtime)
    server.add(add_file_service, FileServicer(store), SERVICE)
    try:
        if not await _started(store, shutdown):
            return

        async def tell(healthy: bool) -> None:
            await server.set_serving(SERVICE, healthy)

        async with keeping_house(store, tell), server.running():
            await shutdown.wait()
    finally:
        await store.backend.aclose()


async def _started(store: FileStore, shutdown: Shutdown) -> bool:
    wait_seconds = 0.2
    while not shutdown.requested:
        try:
            await store.start()
        except Unavailable as error:
            log.warning("the store is not there yet", reason=str(error), again_in_seconds=wait_seconds)
        else:
            return True
        try:
            await asyncio.wait_for(shutdown.wait(), wait_seconds)
        except TimeoutError:
            wait_seconds = min(_MAX_WAIT_SECONDS, wait_seconds * 2)
    return False


def main() -> None:
    """Read the settings and run the process."""
    settings = load_settings(FilestoreSettings)
    run_process("filestore", settings.runtime, lambda shutdown: serve(settings, shutdown))


if __name__ == "__main__":
    main()
