"""Sends the clients of downloads to the object store itself, where it has an address that they can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.clients.cooldown import Cooldown
from results.file_links import PRESIGNED
from runtime.errors import WrongState
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

if TYPE_CHECKING:
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub

_LINK_SECONDS = 900
"""How long a link works: for a client that begins at once, with time for its retries."""
_COOLDOWN_SECONDS = 30.0
"""How long a store without an address for clients is not asked again."""


class Redirects:
    """Where a download can be had besides here."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._cooldown = Cooldown(_COOLDOWN_SECONDS)

    async def location(self, files: FileServiceAsyncStub, wanted: file_pb2.PresignFileRequest) -> str:
        """Return a URL of the store; empty when the bytes come through here. Raises FileNotFound and what bad paths raise."""
        if not self._wanted or self._cooldown.active:
            return ""
        wanted.expires_seconds = _LINK_SECONDS
        try:
            async with rpc_errors():
                url: str = (await files.PresignFile(wanted)).url
        except WrongState:  # it has no public endpoint and signs no links that are served here
            url = ""
        if not url.startswith(("http://", "https://")) or f"{PRESIGNED}/" in url:
            self._cooldown.start()
            return ""
        return url
