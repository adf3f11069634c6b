"""Everything that can happen to leases, in any order, against what their holders themselves believe.

The judge is the holders' own journal: who was told that it holds a device, and has by its own clock not yet had to stop, is on that
device, whatever the store thinks. Some holders are deaf: they hear of no revocation and go on until their TTL is over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gpulock.lease.message import Client, ClientMessage
from leases.ask import Ask
from tests.gpulock.conftest import GPU0, GPU1, Clocks, Harness, Replica

T = TypeVar("T")

CAPACITY = {"gpu-0": 24_000, "gpu-1": 24_000}
TTL_SECONDS = 60.0
EXAMPLES = int(os.environ.get("LEASE_EXAMPLES", "100"))
"""Histories that are tried; a hunt after a change of the scripts takes hundreds (300 take four minutes)."""
PHASES = [phase for phase in Phase if phase is not Phase.shrink or os.environ.get("LEASE_SHRINK") != "no"]
"""A mutant need only be noticed, not explained."""
CONFIGURATION = {
    "gpu_lock_monitor.heartbeat.interval": "20",
    "gpu_lock_monitor.heartbeat.timeout": "60",
    "gpu_lock_monitor.timeout_levels.warning": "200",
    "gpu_lock_monitor.timeout_levels.soft_timeout": "400",
    "gpu_lock_monitor.timeout_levels.hard_timeout": "600",
    "gpu_lock.max_wait_time": "5000",
}


@dataclass
class Belief:
    """A lease as its holder knows it."""

    token: int
    devices: tuple[tuple[str, int], ...]
    until: float
    """By the clock that never steps."""


class LeaseMachine(RuleBasedStateMachine):
    """Clients of two replicas."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = redis.Redis.from_url(self.redis_url)
        self.store.flushdb()
        self.harness = Harness(self.redis_url, self.store, Clocks())
        self.asks: dict[str, Ask] = {}
        self.homes: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        """Of a request that takes a model over, the request whose client it is."""
        self.waiting: set[str] = set()
        self.held: dict[str, Belief] = {}
        self.deaf: set[str] = set()
        self.parked: set[str] = set()
        self.received = {"a": 0, "b": 0}
        self.tokens: list[int] = []
        self.before = 0
        self.snapshot: dict[bytes, Any] = {}
        self.count = 0
        self.version = 1

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something, then hear what was said."""
        answer = self.loop.run_until_complete(work)
        self.loop.run_until_complete(self.harness.carry())
        self.before = max(self.tokens, default=0)
        for name, replica in self.harness.replicas.items():
            for message in replica.messages[self.received[name] :]:
                self.receive(message)
            self.received[name] = len(replica.messages)
        return answer

    def receive(self, message: ClientMessage) -> None:
        """Believe what is said."""
        request_id, record = message.request_id, message.record
        if message.kind == "granted" and record is not None:
            if request_id not in self.waiting:
                return  # the session drops a grant that crossed a cancellation
            self.waiting.discard(request_id)
            self.believe(message)
            warm = self.asks[request_id].warm_request_id
            if record.warm:
                self.held.pop(warm, None)
                self.parked.discard(warm)
            if record.token not in self.tokens:
                assert record.token > self.before, "a token went back"
                self.tokens.append(record.token)
        elif message.kind == "lost" and request_id not in self.deaf:
            self.held.pop(request_id, None)
        elif message.kind in ("timeout", "cancelled", "refused"):
            self.waiting.discard(request_id)

    def believe(self, message: ClientMessage) -> None:
        """Note a lease from the answer to what was sent now."""
        assert message.record is not None
        left = (message.record.expires_us - message.now_us) / 1e6
        until = self.harness.clocks.boot_seconds + min(left, TTL_SECONDS)
        self.held[message.request_id] = Belief(message.record.token, message.record.devices, until)

    def client(self, request_id: str) -> Client:
        """The client whose request it is: a task that takes a model over is one of the same client."""
        return Client("c-" + self.owners.get(request_id, request_id))

    def at(self, request_id: str) -> Replica:
        """The replica that a client speaks to."""
        return self.harness.replicas[self.homes[request_id]]

    @initialize()
    def start(self) -> None:
        for name in ("a", "b"):
            self.do(
                self.harness.replica(
                    name, devices=(GPU0, GPU1), configuration=CONFIGURATION,
                    waiter_grace_seconds=30.0, replica_ttl_seconds=1e6, yield_seconds=25.0,
                )
            )  # fmt: skip
        for _ in range(3):  # without a crowd nothing contends
            self.ask(home="a", user="x", priority=0, memory_mib=0, count=1, preemptible=False)

    @rule(
        home=st.sampled_from("ab"), user=st.sampled_from("xyz"), priority=st.sampled_from([0, 0, 0, 1, -1]),
        memory_mib=st.sampled_from([0, 0, 4_000, 10_000, 20_000]), count=st.sampled_from([1, 1, 1, 2]),
        preemptible=st.booleans(),
    )  # fmt: skip
    def ask(
        self, home: str, user: str, priority: int, memory_mib: int, count: int, preemptible: bool
    ) -> None:
        """A new request."""
        self.count += 1
        request_id = f"r{self.count}"
        self.asks[request_id] = Ask(
            request_id,
            memory_mib=memory_mib,
            device_count=count,
            priority=priority,
            user=user,
            preemptible=preemptible,
        )
        self.homes[request_id] = home
        self.waiting.add(request_id)
        self.repeat(request_id)

    def repeat(self, request_id: str) -> None:
        """Send the request, maybe again."""
        replica = self.at(request_id)
        message = self.do(replica.lessor.acquire(self.client(request_id), self.asks[request_id]))
        if message is not None:
            self.receive(message)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), home=st.sampled_from("ab"))
    def ask_again_elsewhere(self, data: st.DataObject, home: str) -> None:
        """A waiter whose stream broke asks again, at any replica."""
        request_id = data.draw(st.sampled_from(sorted(self.waiting)))
        self.homes[request_id] = home
        self.repeat(request_id)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def lose_stream(self, data: st.DataObject) -> None:
        """A waiter's stream is gone."""
        request_id = data.draw(st.sampled_from(sorted(self.waiting)))
        self.do(self.at(request_id).lessor.detach(self.client(request_id), [request_id]))

    @precondition(lambda self: self.asks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client takes a request back, waiting or just granted."""
        request_id = data.draw(st.sampled_from(sorted(self.waiting | set(self.held)) or ["r1"]))
        self.waiting.discard(request_id)
        if request_id in self.deaf:
            return
        self.held.pop(request_id, None)
        self.do(self.at(request_id).lessor.cancel(self.client(request_id), request_id))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:
        """A holder gives back; a repetition is harmless."""
        request_id = data.draw(st.sampled_from(sorted(self.held)))
        belief = self.held.pop(request_id)
        for _ in range(1 + twice):
            self.do(
                self.at(request_id).lessor.release(
                    self.client(request_id), request_id, belief.token, "normal"
                )
            )

    @precondition(lambda self: self.held)
    @rule()
    def beat(self) -> None:
        """All holders that are not deaf beat."""
        for request_id, belief in list(self.held.items()):
            if request_id in self.deaf or belief.until < self.harness.clocks.boot_seconds:
                continue
            client = self.client(request_id)
            message = self.do(self.at(request_id).lessor.renew(client, request_id, belief.token))
            if message.kind == "renewed":
                self.believe(message)
            elif message.kind == "lost":
                self.held.pop(request_id, None)
            elif message.kind == "reclaim":
                self.reclaim(request_id)

    def reclaim(self, request_id: str) -> None:
        """A holder says that it holds."""
        belief = self.held[request_id]
        message = self.do(
            self.at(request_id).lessor.reclaim(
                self.client(request_id), self.asks[request_id], belief.token,
                [name for name, _ in belief.devices], self.harness.clocks.wall_us,
            )
        )  # fmt: skip
        if message.kind == "renewed":
            self.believe(message)
        else:
            self.held.pop(request_id, None)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def go_deaf(self, data: st.DataObject) -> None:
        """A holder is frozen: it hears and sends nothing more, and its work goes on until its TTL is over."""
        self.deaf.add(data.draw(st.sampled_from(sorted(self.held))))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def force(self, data: st.DataObject) -> None:
        """An operator takes a lease; a holder that hears it confirms."""
        request_id = data.draw(st.sampled_from(sorted(self.held)))
        belief = self.held[request_id]
        self.do(self.harness.replicas["a"].lessor.force_release(request_id, "default", "", "test"))
        if request_id not in self.deaf:
            self.held.pop(request_id, None)
            self.do(self.at(request_id).lessor.confirm(self.client(request_id), request_id, belief.token))

    @precondition(lambda self: set(self.held) - self.deaf)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        """A holder keeps its model."""
        request_id = data.draw(st.sampled_from(sorted(set(self.held) - self.deaf)))
        token = self.held[request_id].token
        message = self.do(
            self.at(request_id).lessor.park(self.client(request_id), request_id, token, "m", 0, 3)
        )
        if message.kind == "parked":
            self.parked.add(request_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def take_over(self, data: st.DataObject) -> None:
        """A task of the same client asks for its model, parked or still in use."""
        parked = data.draw(st.sampled_from(sorted(self.parked & set(self.held)) or sorted(self.held)))
        self.count += 1
        request_id = f"r{self.count}"
        self.asks[request_id] = Ask(
            request_id, memory_mib=self.asks[parked].memory_mib, device_count=self.asks[parked].device_count,
            warm_request_id=parked,
        )  # fmt: skip
        self.homes[request_id] = self.homes[parked]
        self.owners[request_id] = self.owners.get(parked, parked)
        self.waiting.add(request_id)
        message = self.do(self.at(request_id).lessor.acquire(self.client(request_id), self.asks[request_id]))
        if message is not None:
            self.receive(message)

    @precondition(lambda self: self.parked & set(self.held))
    @rule()
    def unload(self) -> None:
        """Every node whose model was asked for gives it up."""
        leases = self.do(self.harness.replicas["a"].leases())
        for request_id in sorted(self.parked & set(self.held)):
            if request_id in leases and leases[request_id].stop and request_id not in self.deaf:
                belief = self.held.pop(request_id)
                client = self.client(request_id)
                self.do(self.at(request_id).lessor.release(client, request_id, belief.token, "yielded"))

    @rule(seconds=st.sampled_from([0.5, 3.0, 15.0, 31.0, 45.0, 66.0, 130.0]))
    def wait(self, seconds: float) -> None:
        """Time passes; replicas sweep now and then."""
        left = seconds
        while left > 0:
            part = min(left, 5.0)
            left -= part
            self.harness.clocks.pass_seconds(part)
            for replica in self.harness.replicas.values():
                self.do(replica.lessor.sweep())
            self.stop_who_must()

    def stop_who_must(self) -> None:
        """Who has not renewed in time has stopped by itself."""
        now = self.harness.clocks.boot_seconds
        for request_id, belief in list(self.held.items()):
            if belief.until <= now:
                del self.held[request_id]
                self.deaf.discard(request_id)

    @rule(interval=st.sampled_from([5, 10, 20]))
    def change_settings(self, interval: int) -> None:
        """An operator changes the rhythm of beats; deaf holders go on by the old one."""
        self.version += 1
        lessor = self.harness.replicas["b"].lessor
        values = {
            "gpu_lock_monitor.heartbeat.interval": str(interval),
            "gpu_lock_monitor.heartbeat.timeout": str(3 * interval),
        }
        changed = lessor.configuration.changed(values)
        for replica in self.harness.replicas.values():
            self.do(replica.lessor.configure(changed, self.version))

    @rule(pool_device=st.sampled_from(sorted(CAPACITY)), undo=st.booleans())
    def drain(self, pool_device: str, undo: bool) -> None:
        """An operator drains a device, or lets it work again."""
        self.do(self.harness.replicas["b"].lessor.drain_device("default", pool_device, undo=undo, reason=""))

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, -7.0, 7.0, 3600.0, 86_400.0]), swept=st.booleans())
    def step_clock(self, seconds: float, swept: bool) -> None:
        """Redis's clock is set; a sweep follows soon, or other things come first."""
        self.harness.clocks.step_seconds(seconds)
        if swept:
            self.wait(0.5)

    @rule()
    def restart_redis(self) -> None:
        """Redis comes back with its data."""
        self.harness.restart_redis()

    @rule()
    def remember(self) -> None:
        """A replica of Redis falls behind from here on."""
        kept: list[Any] = [key for key in self.store.keys("*") if self.store.type(key) != b"stream"]
        self.snapshot = {key: self.store.dump(key) for key in kept}

    @precondition(lambda self: self.snapshot)
    @rule()
    def fail_over_to_the_past(self) -> None:
        """What was written since then is lost."""
        self.store.flushdb()
        for key, payload in self.snapshot.items():
            self.store.restore(key, 0, payload)
        self.harness.restart_redis()
        self.come_back()

    @rule()
    def lose_everything(self) -> None:
        """Redis comes back empty."""
        self.store.flushdb()
        self.come_back()

    def come_back(self) -> None:
        """Replicas look at once; clients ask again, and holders that hear it say that they hold."""
        for replica in self.harness.replicas.values():
            self.do(replica.lessor.sweep())
        self.stop_who_must()
        for request_id in sorted(set(self.held) - self.deaf):
            self.reclaim(request_id)
        for request_id in sorted(self.waiting):
            self.repeat(request_id)
        self.harness.received.clear()

    @invariant()
    def nobody_shares_what_is_not_shared(self) -> None:
        """Never more than a device's memory in the hands of those who believe that they hold it."""
        used = dict.fromkeys(CAPACITY, 0)
        now = self.harness.clocks.boot_seconds
        for belief in self.held.values():
            if belief.until > now:
                for name, mib in belief.devices:
                    used[name] += mib
        for name, mib in used.items():
            assert mib <= CAPACITY[name], (name, self.held)

    @invariant()
    def books_are_right(self) -> None:
        """What the store counts as used is the sum of its leases, and nobody in front fits."""
        if not self.harness.replicas:
            return
        replica = self.harness.replicas["a"]
        memory = self.do(replica.memory())
        leases = self.do(replica.leases())
        for device, (used, quarantined) in memory.items():
            held = sum(
                m for r in leases.values() if r.state == "G" for name, m in r.devices if name == device
            )
            kept = sum(
                m for r in leases.values() if r.state == "X" for name, m in r.devices if name == device
            )
            assert (used, quarantined) == (held, kept), device
            assert used <= CAPACITY[device]

    def teardown(self) -> None:
        """When faults end, everybody who waits is served or told why not, and every lease ends."""
        if self.harness.replicas:
            for device in CAPACITY:
                self.drain(device, undo=True)
            self.settle()
        for pipe in self.harness.pipes:
            pipe.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        self.store.close()

    def settle(self) -> None:
        for request_id in sorted(self.waiting):
            self.repeat(request_id)
        for _ in range(200):
            if not self.waiting and not self.held:
                break
            for request_id in list(self.held):
                belief = self.held.pop(request_id)
                client = self.client(request_id)
                self.do(self.at(request_id).lessor.release(client, request_id, belief.token, "normal"))
            self.wait(15.0)
        assert not self.waiting, f"never served: {self.waiting}"
        for _ in range(
            self.count + 1
        ):  # a cancelled waiter that the past brought back may be granted, to nobody's use
            self.wait(2 * TTL_SECONDS + 20.0)
        assert set(self.do(self.harness.replicas["a"].memory()).values()) == {(0, 0)}


def run_machine(url: str, examples: int) -> None:
    """Let Hypothesis look for a history that breaks a law."""
    machine = type("Machine", (LeaseMachine,), {"redis_url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, derandomize=False,
            suppress_health_check=list(HealthCheck), phases=PHASES,
        ),
    )  # fmt: skip


def test_leases_in_any_order(redis_url: str) -> None:
    """No history of asks, beats, losses, steps of the clock and failovers puts two holders on one device or strands a waiter."""
    run_machine(redis_url, examples=6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_leases_in_any_order_for_long(redis_url: str) -> None:
    """The same with many more histories; `make mutants` says how many."""
    run_machine(redis_url, EXAMPLES)
