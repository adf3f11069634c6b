"""An AccessService for the gateway's tests: revoked keys in memory."""

from __future__ import annotations

from typing import Any

from runtime import errors
from yivideo.access.v1 import access_pb2 as pb
from yivideo.access.v1.access_pb2_grpc import AccessServiceServicer


class FakeAccess(AccessServiceServicer):
    """Keeps revoked keys; all gateways that ask it see them."""

    def __init__(self) -> None:
        self.revoked: dict[str, pb.RevokedKey] = {}
        self.fail: errors.YiVideoError | None = None
        """Raised by every call while set."""

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any) -> pb.RevokedKey:
        """Revoke a key, once."""
        if self.fail is not None:
            raise self.fail
        made = pb.RevokedKey(key_sha256=request.key_sha256, user=request.user, reason=request.reason)
        made.revoke_time.GetCurrentTime()
        return self.revoked.setdefault(request.key_sha256, made)

    async def ListRevokedKeys(
        self, request: pb.ListRevokedKeysRequest, context: Any
    ) -> pb.ListRevokedKeysResponse:
        """List them."""
        if self.fail is not None:
            raise self.fail
        return pb.ListRevokedKeysResponse(keys=list(self.revoked.values()))
