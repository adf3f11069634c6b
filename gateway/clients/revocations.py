"""Revoked API keys, which the scheduler keeps for all gateways."""

from __future__ import annotations

from gateway.clients.backend import Backend
from runtime.errors import Unavailable, Unimplemented, YiVideoError
from yivideo.access.v1 import access_pb2


class Revocations:
    """Asks and tells which keys are revoked."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def all(self) -> list[access_pb2.RevokedKey]:
        """Return all revoked keys. Raises Unavailable when that cannot be told now."""
        try:
            answer = await self._backend.read(
                self._backend.access.ListRevokedKeys, access_pb2.ListRevokedKeysRequest()
            )
        except Unimplemented:  # a scheduler of an older version: nothing can have been revoked at it
            return []
        except YiVideoError as error:
            raise Unavailable(error.message) from error
        return list(answer.keys)

    async def revoke(self, request: access_pb2.RevokeKeyRequest) -> access_pb2.RevokedKey:
        """Revoke a key; a repetition gives what was noted first."""
        return await self._backend.change(self._backend.access.RevokeKey, request)
