"""The orphan release: gives back what it held at the lock service, when it is dead and nothing of its processes is left.

Its reaper runs this file as a program (docs/adr/0020). Standard input: the terms as one line of JSON, then for each request that
had not ended a line `<token> <request id as JSON>`; token 0: no grant was heard of. It tries the replicas in turn and gives up
quietly: a lease then ends with its TTL. It imports no other part of `nodekit`, which would take as long again as all it does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import grpc

from runtime.channel import open_channel
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import configure_logs, get_logger
from runtime.rpc_errors import rpc_errors
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc

log = get_logger(__name__)

TRYING_SECONDS = 10.0
_TURN_SECONDS = 3.0
_PAUSE_SECONDS = 0.2
_ENDS = frozenset({"released", "cancelled", "confirmed", "refused"})


def to_terms(hello: lock_pb2.Hello, lock: Sequence[str], runtime: RuntimeSection) -> str:
    """Return the terms: who speaks, to whom, and how calls are made. They hold the internal token: nothing for a log."""
    settings = runtime.model_dump(mode="json")
    settings["token"] = runtime.token.get_secret_value() if runtime.token else None
    return json.dumps({"hello": hello.SerializeToString().hex(), "lock": list(lock), "runtime": settings})


class OrphanRelease:
    """What a dead node held or waited for, and has not been given back yet."""

    def __init__(self, hello: lock_pb2.Hello, requests: Mapping[str, int]) -> None:
        """`requests` are the tokens by request id, 0 where there is none."""
        self._hello = hello
        self.left = dict(requests)

    async def execute(self, lock: Sequence[str], settings: RuntimeSection) -> None:
        """Try the replicas in turn until nothing is left."""
        for address in itertools.cycle(lock):
            try:
                async with asyncio.timeout(_TURN_SECONDS), open_channel(address, settings) as channel:
                    await self._tell(channel)
            except (YiVideoError, OSError, TimeoutError) as error:
                log.debug("no answer of a lock service", address=address, reason=str(error))
            if not self.left:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _tell(self, channel: grpc.aio.Channel) -> None:
        outbox: asyncio.Queue[lock_pb2.SessionRequest | None] = asyncio.Queue()
        for message in (lock_pb2.SessionRequest(hello=self._hello), *self._messages()):
            outbox.put_nowait(message)
        call = lock_pb2_grpc.LockServiceStub(channel).Session(_drained(outbox))
        try:
            async with rpc_errors():
                async for response in call:
                    self._handle(response, outbox)
                    if not self.left:
                        return
            raise Unavailable("the stream ended")
        finally:
            outbox.put_nowait(None)
            call.cancel()

    def _messages(self) -> list[lock_pb2.SessionRequest]:
        # Waits first: one that was granted a parked lease is not over before that has been given back too.
        waits = [
            lock_pb2.SessionRequest(cancel=lock_pb2.Cancel(request_id=request_id))
            for request_id, token in self.left.items()
            if not token
        ]
        stopped = lock_pb2.RELEASE_REASON_STOPPED
        return waits + [
            lock_pb2.SessionRequest(
                release=lock_pb2.Release(request_id=request_id, token=token, reason=stopped)
            )
            for request_id, token in self.left.items()
            if token
        ]

    def _handle(
        self, response: lock_pb2.SessionResponse, outbox: asyncio.Queue[lock_pb2.SessionRequest | None]
    ) -> None:
        kind = response.WhichOneof("message")
        if kind in _ENDS:
            self.left.pop(getattr(response, kind).request_id, None)
        elif kind == "lost":
            # Revoked before it was given back.
            self.left.setdefault(response.lost.request_id, response.lost.token)
            confirm = lock_pb2.Confirm(request_id=response.lost.request_id, token=response.lost.token)
            outbox.put_nowait(lock_pb2.SessionRequest(confirm=confirm))


async def _drained(
    outbox: asyncio.Queue[lock_pb2.SessionRequest | None],
) -> AsyncIterator[lock_pb2.SessionRequest]:
    while (message := await outbox.get()) is not None:
        yield message


async def _execute(terms: Mapping[str, object], requests: Mapping[str, int]) -> None:
    hello = lock_pb2.Hello.FromString(bytes.fromhex(str(terms["hello"])))
    settings = RuntimeSection.model_validate(terms["runtime"])
    configure_logs(hello.node, level=settings.log_level, log_format=settings.log_format)
    orphans = OrphanRelease(hello, requests)
    try:
        async with asyncio.timeout(TRYING_SECONDS):
            await orphans.execute(terms["lock"], settings)  # type: ignore[arg-type]
        log.info("a dead node's leases were given back", replica=hello.client_id, requests=len(requests))
    except TimeoutError:
        log.warning("a dead node's leases must run out", replica=hello.client_id, requests=len(orphans.left))


def main() -> None:
    """Do what standard input says."""
    signal.setitimer(signal.ITIMER_REAL, TRYING_SECONDS + 1)  # also when our reaper is killed and we hang
    first, *lines = sys.stdin.read().splitlines()
    requests = {}
    for line in lines:
        token, _, request_id = line.partition(" ")
        requests[json.loads(request_id)] = int(token)
    asyncio.run(_execute(json.loads(first), requests))


if __name__ == "__main__":
    main()
