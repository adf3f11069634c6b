# ruff: noqa: N802 - the contract names the methods
"""AccessService: which API keys of the gateways no longer count."""

from __future__ import annotations

from typing import Any

from runtime.logs import get_logger
from scheduler.queue.revoked_keys import RevokedKeys
from yivideo.access.v1 import access_pb2, access_pb2_grpc

log = get_logger(__name__)


class AccessServicer(access_pb2_grpc.AccessServiceServicer):
    """The scheduler's keeping of revoked keys."""

    def __init__(self, revoked: RevokedKeys) -> None:
        self._revoked = revoked

    async def RevokeKey(self, request: access_pb2.RevokeKeyRequest, context: Any) -> access_pb2.RevokedKey:
        """Note that a key no longer counts."""
        revoked = await self._revoked.revoke(request)
        log.warning("API key revoked", key=revoked.key_sha256[:12], by=revoked.user, reason=revoked.reason)
        return revoked

    async def ListRevokedKeys(
        self, request: access_pb2.ListRevokedKeysRequest, context: Any
    ) -> access_pb2.ListRevokedKeysResponse:
        """List all revoked keys."""
        return access_pb2.ListRevokedKeysResponse(keys=await self._revoked.all())
