"""API keys of the gateways that were revoked. An entry stays until its key expires by itself, or the key were let in again."""

from __future__ import annotations

import re
from typing import Any

from runtime.errors import InvalidArgument, ResourceExhausted
from runtime.rpc_errors import clip
from scheduler.queue.admission import milliseconds
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from yivideo.access.v1 import access_pb2

_DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_KEYS = 10_000
_USER_BYTES = 128
_REASON_BYTES = 500


class RevokedKeys:
    """All revoked keys of an installation."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def revoke(self, request: access_pb2.RevokeKeyRequest) -> access_pb2.RevokedKey:
        """Note that a key no longer counts; gives what was noted first. Raises InvalidArgument, ResourceExhausted."""
        if not _DIGEST.fullmatch(request.key_sha256):
            raise InvalidArgument.at("/key_sha256", "must be the lower-case hex SHA-256 of a key")
        expire_ms = milliseconds(request, "expire_time")
        revoked = access_pb2.RevokedKey(
            key_sha256=request.key_sha256,
            user=clip(request.user, _USER_BYTES),
            reason=clip(request.reason, _REASON_BYTES),
        )
        promised = await self._redis.promise(
            "revoke",
            [request.key_sha256, expire_ms, MOST_KEYS, revoked.SerializeToString()],
            keys=[self._keys.revoked, self._keys.revoked_until],
        )
        answer = promised.told()
        if answer == b"full":
            raise ResourceExhausted(f"{MOST_KEYS} keys are revoked; take them out of the settings")
        return _read(answer)

    async def all(self) -> list[access_pb2.RevokedKey]:
        """Return all revoked keys, in the order of their hashes."""
        (stored,) = await self._redis.read(lambda pipe: pipe.hgetall(self._keys.revoked))
        entries: dict[bytes, Any] = stored
        return [_read(raw) for _, raw in sorted(entries.items())]


def _read(raw: bytes) -> access_pb2.RevokedKey:
    time_ms, _, body = raw.partition(b" ")
    revoked = access_pb2.RevokedKey.FromString(body)
    revoked.revoke_time.FromMilliseconds(int(time_ms))
    return revoked
