"""API keys that no longer count: Redis keeps them whatever schedulers come and go; noted once, bounded, let go when they expire."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
import redis

from runtime.channel import open_channel
from runtime.errors import InvalidArgument, ResourceExhausted
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from scheduler.queue.revoked_keys import MOST_KEYS, RevokedKeys
from tests.scheduler.conftest import RUNTIME, Client, Harness, running_client
from tests.scheduler.queue.harness import Queue
from yivideo.access.v1 import access_pb2, access_pb2_grpc

pytestmark = pytest.mark.trial("10.14")

PAST_MS = 1_000
FAR_MS = 4_000_000_000_000  # in the year 2096


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def asked(key: str, user: str = "ops", reason: str = "", expire_ms: int = 0) -> access_pb2.RevokeKeyRequest:
    """Ask for a key's revocation; `expire_ms` 0: it never expires."""
    request = access_pb2.RevokeKeyRequest(key_sha256=digest(key), user=user, reason=reason)
    if expire_ms:
        request.expire_time.FromMilliseconds(expire_ms)
    return request


async def by_rpc(client: Client, *requests: access_pb2.RevokeKeyRequest) -> list[access_pb2.RevokedKey]:
    """Revoke keys one after the other, then list all."""
    async with open_channel(client.address, RUNTIME) as channel, rpc_errors():
        stub = access_pb2_grpc.AccessServiceStub(channel)
        for request in requests:
            await stub.RevokeKey(request)
        return list((await stub.ListRevokedKeys(access_pb2.ListRevokedKeysRequest())).keys)


@pytest.fixture
def revoked(queue: Queue, keys: Keys) -> RevokedKeys:
    """The revoked keys as one scheduler replica has them."""
    return RevokedKeys(queue.redis, keys)


async def test_a_revoked_key_stays_so_over_a_restart(harness: Harness) -> None:
    """What one scheduler took, the next one lists, with who, why and when, in the order of the hashes."""
    before_ms = int(time.time() * 1000)
    async with running_client(harness.settings()) as first:
        assert await by_rpc(first) == []
        listed = await by_rpc(first, asked("one", "ops", "lost laptop"), asked("two", "root"))
    after_ms = int(time.time() * 1000)
    assert [key.key_sha256 for key in listed] == sorted([digest("one"), digest("two")])
    (one,) = [key for key in listed if key.key_sha256 == digest("one")]
    assert (one.user, one.reason) == ("ops", "lost laptop")
    assert before_ms <= one.revoke_time.ToMilliseconds() <= after_ms
    async with running_client(harness.settings()) as second:
        assert await by_rpc(second) == listed


async def test_what_is_no_keys_hash_is_refused_and_not_kept(harness: Harness) -> None:
    """The field is named, and nothing is listed: neither a key itself nor a hash in other letters can be noted."""
    async with running_client(harness.settings()) as client:
        for bad in (
            "",
            "a-key-in-the-clear",
            digest("x").upper(),
            digest("x")[:-1],
            digest("x") + "0",
            digest("x") + "\n",
        ):
            with pytest.raises(InvalidArgument) as refused:
                await by_rpc(client, access_pb2.RevokeKeyRequest(key_sha256=bad))
            assert [field.pointer for field in refused.value.fields] == ["/key_sha256"]
        assert await by_rpc(client) == []


async def test_a_time_that_is_none_is_refused_and_not_kept(revoked: RevokedKeys) -> None:
    """A year that no timestamp has is its caller's fault, and names the field."""
    for seconds, nanos in ((-(1 << 63), 0), (253_402_300_800, 0), (0, -1)):
        request = asked("one")
        request.expire_time.seconds, request.expire_time.nanos = seconds, nanos
        with pytest.raises(InvalidArgument) as refused:
            await revoked.revoke(request)
        assert [fault.pointer for fault in refused.value.fields] == ["/expire_time"]
    assert await revoked.all() == []


async def test_a_repetition_changes_nothing(revoked: RevokedKeys, other: Queue, keys: Keys) -> None:
    """The first revocation stands, whoever asks again by whichever replica."""
    first = await revoked.revoke(asked("one", "ops", "lost"))
    assert await RevokedKeys(other.redis, keys).revoke(asked("one", "thief", "never mind", PAST_MS)) == first
    await revoked.revoke(asked("two"))  # a revocation lets go of what has expired
    assert [key for key in await revoked.all() if key.key_sha256 == digest("one")] == [first]


async def test_long_words_are_cut_at_their_bounds(revoked: RevokedKeys) -> None:
    """Name and reason are kept up to 128 and 500 bytes, never with half a character."""
    kept = await revoked.revoke(asked("one", "ü" * 200, "語" * 400))
    assert 120 <= len(kept.user.encode()) <= 128 and kept.user.rstrip("…").strip("ü") == ""
    assert 490 <= len(kept.reason.encode()) <= 500 and kept.reason.rstrip("…").strip("語") == ""
    assert await revoked.all() == [kept]


async def test_a_key_that_has_expired_needs_no_entry(
    revoked: RevokedKeys, keys: Keys, clean_redis: redis.Redis
) -> None:
    """The next revocation lets go of it and of nothing else; nothing of it is left in Redis."""
    await revoked.revoke(asked("gone", expire_ms=PAST_MS))
    await revoked.revoke(asked("later", expire_ms=FAR_MS))
    await revoked.revoke(asked("never"))
    assert {key.key_sha256 for key in await revoked.all()} == {digest("later"), digest("never")}
    assert clean_redis.zrange(keys.revoked_until, 0, -1, withscores=True) == [
        (digest("later").encode(), FAR_MS)
    ]


async def test_the_number_of_revoked_keys_is_bounded(
    revoked: RevokedKeys, keys: Keys, clean_redis: redis.Redis
) -> None:
    """At the bound a further key is refused, a repetition is not, and a key that expires gives its place away."""
    first = await revoked.revoke(asked("one"))
    body = f"1 {'x' * 8}".encode()
    clean_redis.hset(keys.revoked, mapping={digest(str(n)): body for n in range(MOST_KEYS - 2)})
    await revoked.revoke(asked("last"))
    assert clean_redis.hlen(keys.revoked) == MOST_KEYS
    with pytest.raises(ResourceExhausted, match="10000 keys are revoked"):
        await revoked.revoke(asked("one more"))
    assert await revoked.revoke(asked("one")) == first
    clean_redis.zadd(keys.revoked_until, {digest("0"): PAST_MS})
    await revoked.revoke(asked("one more"))
    assert clean_redis.hlen(keys.revoked) == MOST_KEYS and not clean_redis.hexists(keys.revoked, digest("0"))
