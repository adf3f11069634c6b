"""The scripts are functions of a Redis library: loaded when Redis does not know them, beside those of other versions."""

from __future__ import annotations

import pytest
import redis

from gpulock.store.script_store import ScriptStore
from redislink.lua import load_library
from tests.gpulock.conftest import GPU0, GPU1, STORE, Harness

_OTHER = "gpulock_0123456789abcdef"
_TEXT = f"#!lua name={_OTHER}\nredis.register_function('{_OTHER}_x', function() return 1 end)"


def loaded(client: redis.Redis) -> set[str]:
    """Names of the libraries that Redis has."""
    found = client.function_list()
    facts = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in found]
    return {entry[b"library_name"].decode() for entry in facts}


async def test_functions_that_redis_does_not_know_are_loaded(harness: Harness) -> None:
    """A Redis whose functions are gone is given them again, and nobody hears of it."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    harness.redis.function_flush("SYNC")
    await a.release("r1")
    assert a.kinds("r2") == ["queued", "granted"]
    assert loaded(harness.redis) == {load_library("gpulock").name}


async def test_two_replicas_may_load_at_once(harness: Harness) -> None:
    """Who comes second finds the library there, which is as good."""
    a, b = await harness.replica("a"), await harness.replica("b")
    harness.redis.function_flush("SYNC")
    for replica in (a, b):
        assert isinstance(replica.store, ScriptStore)
        await load_library("gpulock").load(replica.store._pipe)
    await a.ask("r1")
    assert await b.ask("r2") == "queued"


async def test_other_versions_are_deleted_and_come_back_by_themselves(harness: Harness) -> None:
    """A start deletes the libraries of other versions; one that is deleted while it runs loads its own again."""
    a = await harness.replica()
    harness.redis.function_load(_TEXT)
    harness.redis.function_load(_TEXT.replace("gpulock_", "someone_else_"))
    await a.store.forget_other_versions()
    own = load_library("gpulock").name
    assert loaded(harness.redis) == {own, _OTHER.replace("gpulock_", "someone_else_")}
    harness.redis.function_delete(own)
    await a.ask("r1")
    assert a.kinds("r1") == ["granted"]
    harness.redis.function_flush("SYNC")


async def test_nothing_of_a_call_is_left_for_the_next(harness: Harness) -> None:
    """What a call that fails had worked out is neither written nor found by the next, though functions stay in memory."""
    a = await harness.replica()
    await a.ask("r1")
    harness.redis.set(f"{STORE}gone", "of the wrong type")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        await a.release("r1")
    harness.redis.delete(f"{STORE}gone")
    assert await a.memory() == {"gpu-0": (24_000, 0)}
    assert set(await a.leases()) == {"r1"}
    await a.release("r1")
    assert await a.memory() == {"gpu-0": (0, 0)}


async def test_devices_whose_configuration_broke_off_are_brought_again(harness: Harness) -> None:
    """A replica whose devices Redis did not take to the end finds them missing when it says them again, not noted as brought."""
    await harness.replica("a")
    harness.redis.rename(f"{STORE}ev", "kept")
    harness.redis.set(f"{STORE}ev", "of the wrong type")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        await harness.replica("b", devices=(GPU0, GPU1))
    harness.redis.rename("kept", f"{STORE}ev")
    b = await harness.replica("b", devices=(GPU0, GPU1))
    assert set(await b.memory()) == {"gpu-0", "gpu-1"}
