"""Holders that ignore the lock service: `python -m bench.gpulock_chaos.rogue ADDRESSES JOURNALS GUARD SEED`.

Each asks for a device and lets its lease in at the guard of the host, as the law is there; then it never beats and listens to
nothing. One kind uses the device for longer than its lease may live; the next holder's guard has to kill its work. The other ends
in time, keeps its result until its lease is long gone, and publishes it where no guard can find it; the fence has to refuse it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import uvloop

from bench.gpulock.session import open_session
from bench.gpulock_chaos.holder import WORK
from nodekit.gpu.guard import DeviceGuard, key_of
from nodekit.process.process_tree import MARK_VARIABLE
from runtime.logs import configure_logs

_TURN_SECONDS = 20.0


async def turn(address: str, journals: Path, guard: Path, name: str, luck: random.Random) -> None:
    """Take a device and misuse it."""
    late = luck.random() < 0.5
    async with open_session(address, name) as session:
        lease = await session.acquire(name, task_id=name, max_wait_seconds=600)
        session.held.clear()  # what is not held is not renewed
        await DeviceGuard(guard).admit(lease, f"{name}/", whole=True)
        device = lease.devices[0]
        register = guard / f"{key_of(device)}.json"
        seconds, pause = (0.1, luck.uniform(2.0, 8.0)) if late else (luck.uniform(2.0, 6.0), 0.0)
        environment = dict(os.environ) if late else {**os.environ, MARK_VARIABLE: f"{name}/"}
        work = await asyncio.create_subprocess_exec(
            sys.executable, "-S", str(WORK), str(journals / f"{name}.journal"), device.device, str(lease.token), name,
            f"{seconds}", f"{pause}", str(register), env=environment,
        )  # fmt: skip
        await work.wait()


async def main() -> None:
    """Misbehave until killed."""
    addresses, journals, guard, seed = sys.argv[1:]
    luck = random.Random(int(seed))
    number = 0
    while True:
        number += 1
        name = f"rogue-{seed}-{number}"
        address = luck.choice(addresses.split(","))
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await turn(address, Path(journals), Path(guard), name, luck)
        except (Exception, TimeoutError) as error:  # replicas and Redis die all the time here
            print(f"{name}: {type(error).__name__} {error}", file=sys.stderr, flush=True)
        await asyncio.sleep(luck.uniform(1.0, 4.0))


if __name__ == "__main__":
    configure_logs("rogue", level="warning")
    uvloop.run(main())
