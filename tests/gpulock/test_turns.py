"""Users in turn, as a law over any order of asking and releasing."""

from __future__ import annotations

import asyncio
from collections import Counter

import hypothesis.strategies as st
import redis
from hypothesis import HealthCheck, given, settings

from tests.gpulock.conftest import Clocks, Harness


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(st.sampled_from(["x", "x", "x", "y", "z", "release"]), min_size=10, max_size=60))
def test_nobody_is_passed_by_one_user_twice_in_a_turn(redis_url: str, moves: list[str]) -> None:
    """While a request waits behind `k` of its own user, no other user is granted more than `k + 2` times before it: once for each
    turn, and the one that is being served.
    """
    asyncio.run(_play(redis_url, [*moves, *["release"] * len(moves)]))


async def _play(redis_url: str, moves: list[str]) -> None:
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    harness = Harness(redis_url, client, Clocks())
    try:
        replica = await harness.replica()
        holder = ""
        waiting: dict[str, tuple[int, Counter[str]]] = {}
        for number, move in enumerate(moves):
            before = len(replica.messages)
            if move == "release":
                if holder:
                    await replica.release(holder)
                    holder = ""
            else:
                name = f"{move}{number}"
                own = sum(waiter[0] == move for waiter in waiting)
                if await replica.ask(name, user=move) == "queued":
                    waiting[name] = (own, Counter())
            for message in replica.messages[before:]:
                if message.kind == "granted":
                    holder = message.request_id
                    waiting.pop(holder, None)
                    for name, (own, passed) in waiting.items():
                        if name[0] != holder[0]:
                            passed[holder[0]] += 1
                            assert passed[holder[0]] <= own + 2, (name, passed)
        assert not waiting or holder
    finally:
        for pipe in harness.pipes:
            pipe.close()
        client.close()
