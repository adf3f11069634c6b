"""One receiver's troubles stay its own: places, circuits and queues by host, and one delivery at a time over all replicas."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter

import redis

from scheduler.callbacks.circuit import HostCircuits
from scheduler.queue.keys import Keys
from tests.scheduler.callbacks.receiver import receiving, section
from tests.scheduler.conftest import Client, Harness, until
from yivideo.task.v1 import task_pb2


async def ended_tasks(client: Client, names: list[str], url: str) -> None:
    """End tasks of a node without slots, so that each has a callback due."""
    for name in names:
        await client.submit(name, callback_url=url)
        await client.cancel(name)


async def test_two_replicas_send_each_callback_once(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """Whoever takes a callback holds it: no second request while the first is under way, and none after it went well."""
    await harness.node(slots=0)
    first = await harness.scheduler(callbacks=section())
    second = await harness.scheduler(callbacks=section())
    async with receiving() as receiver:
        receiver.before_answer = lambda: asyncio.sleep(0.02)
        names = [f"t{n}" for n in range(40)]
        await asyncio.gather(
            ended_tasks(first, names[::2], receiver.url), ended_tasks(second, names[1::2], receiver.url)
        )
        await receiver.wait(40)
        await until(lambda: clean_redis.zcard(keys.outbox) == 0)
        assert receiver.most_of_one == 1
        assert Counter(receiver.ids()) == {f"msg_{name}_1": 1 for name in names}


async def test_a_host_gets_no_more_than_its_places(harness: Harness) -> None:
    """However many callbacks are due to one host, a replica has no more than `host_concurrency` under way, and sends all."""
    await harness.node(slots=0)
    client = await harness.scheduler(callbacks=section(host_concurrency=3))
    async with receiving() as receiver:
        receiver.before_answer = lambda: asyncio.sleep(0.01)
        await ended_tasks(client, [f"t{n}" for n in range(30)], receiver.url)
        await receiver.wait(30)
        assert receiver.most_at_once <= 3


async def test_a_dead_host_holds_up_nobody_and_is_found_again(harness: Harness) -> None:
    """After some failures in a row a host is left alone, then tried by one delivery; others are served all the while."""
    await harness.node(slots=0)
    settings = section(
        circuit_failures=3,
        circuit_seconds=0.4,
        host_concurrency=2,
        concurrency=4,
        schedule_seconds=(0.01,) * 30,
    )
    client = await harness.scheduler(callbacks=settings)
    async with receiving() as dead, receiving() as fine:
        release = asyncio.Event()
        dead.before_answer = release.wait
        dead.answers = [500] * 8
        await ended_tasks(client, [f"d{n}" for n in range(12)], dead.url)
        await dead.wait(2)
        await ended_tasks(client, [f"f{n}" for n in range(12)], fine.url)
        await fine.wait(12)
        assert len(dead.requests) == 2, "those that wait took no other host's place"
        release.set()
        await dead.wait(20)
        await until(lambda: len(set(dead.ids())) == 12)
        assert dead.most_at_once <= 2
    found = await client.stub.ListDeliveries(task_pb2.ListDeliveriesRequest(task_id="d0"))
    assert found.deliveries, "waiting for a circuit is not an attempt; what was sent is one"


class Simulation:
    """Deliveries to one host on a clock of our own."""

    def __init__(self, callbacks: int, seconds: float, well: bool) -> None:
        self.now = 0.0
        self.circuits = HostCircuits(concurrency=4, failures=8, pause_seconds=30, clock=lambda: self.now)
        self.seconds, self.well = seconds, well
        self.asked = self.sent = 0
        self._queue = [(0.0, n, "due") for n in range(callbacks)]

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, number, what = heapq.heappop(self._queue)
            if what == "done":
                self.circuits.end("h", well=self.well, seconds=self.seconds)
                self.sent += 1
                continue
            self.asked += 1
            wait = self.circuits.begin("h")
            after = (self.now + wait, number, "due") if wait else (self.now + self.seconds, number, "done")
            heapq.heappush(self._queue, after)


def test_those_who_wait_for_a_dead_host_do_not_keep_asking() -> None:
    """5,000 callbacks for a host that takes all of 20 s to fail are each looked at about once a minute, not twice a second."""
    dead = Simulation(5000, seconds=20.0, well=False)
    dead.run(until=600)
    assert dead.asked < 5000 * 15, dead.asked
    assert 8 <= dead.sent < 40, "the circuit is open most of the time"


def test_those_who_wait_for_a_good_host_come_as_fast_as_it_takes_them() -> None:
    """Spacing costs little: 2,000 callbacks of 50 ms, four at a time, need 25 s at best and are done within twice that."""
    good = Simulation(2000, seconds=0.05, well=True)
    good.run(until=50)
    assert good.sent == 2000, good.sent
    assert good.asked < 2000 * 8, good.asked


def test_a_failing_host_is_left_alone_and_then_tried_by_one() -> None:
    """The circuit opens after so many failures, lets one delivery try after the pause, and closes with its success."""
    now = 0.0
    circuits = HostCircuits(concurrency=2, failures=3, pause_seconds=10, clock=lambda: now)
    assert circuits.begin("h") == circuits.begin("h") == 0
    assert circuits.begin("h") > 0, "two at a time"
    assert circuits.begin("other") == 0
    for _ in range(2):
        circuits.end("h", well=False, seconds=0.2)
    assert circuits.begin("h") == 0
    circuits.end("h", well=False, seconds=0.2)
    assert circuits.begin("h") >= 10
    now = 10.0
    assert circuits.begin("h") == 0
    assert circuits.begin("h") > 0, "one tries, the others wait"
    circuits.end("h", well=True, seconds=0.2)
    assert circuits.begin("h") == circuits.begin("h") == 0


def test_a_late_success_closes_an_open_circuit() -> None:
    """Who answers well is not left alone, though its circuit opened while the good answer was on its way."""
    circuits = HostCircuits(concurrency=4, failures=3, pause_seconds=10, clock=lambda: 0.0)
    assert [circuits.begin("h") for _ in range(4)] == [0, 0, 0, 0]
    for _ in range(3):
        circuits.end("h", well=False, seconds=0.2)
    circuits.end("h", well=True, seconds=0.2)
    assert circuits.begin("h") == 0


def test_what_says_nothing_about_a_host_changes_nothing() -> None:
    """A deleted task, or an address that was refused, neither opens nor closes a circuit."""
    now = 0.0
    circuits = HostCircuits(concurrency=4, failures=2, pause_seconds=10, clock=lambda: now)
    for well in (False, None, False):
        circuits.begin("h")
        circuits.end("h", well=well, seconds=0.2)
    assert circuits.begin("h") > 0
    now = 10.0
    assert circuits.begin("h") == 0
    circuits.end("h", well=None, seconds=0.2)
    assert circuits.begin("h") == 0, "the next one tries instead"


def test_what_is_known_of_hosts_is_bounded() -> None:
    """A client that names a new host each time fills no memory, and busy hosts are not forgotten."""
    circuits = HostCircuits(concurrency=1, failures=2, pause_seconds=10)
    assert circuits.begin("busy") == 0
    for number in range(5000):
        circuits.begin(f"h{number}")
        circuits.end(f"h{number}", well=True, seconds=0.1)
    assert len(circuits._hosts) <= 1025
    assert circuits.begin("busy") > 0
