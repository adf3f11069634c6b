"""Sessions with the arbiter inside the process: `LocalLocks.open` is the transport of a `LockSession`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from leases.ask import check_hello, check_park, check_reclaim, check_request_id, to_ask
from leases.refusal import refused
from nodekit.gpu.local.arbiter import Arbiter
from nodekit.gpu.local.request import Request, State
from nodekit.gpu.local.rules import LocalRules
from nodekit.gpu.settings import GpuDevice
from nodekit.gpu.transport import Requests, Responses
from runtime.errors import InvalidArgument, ResourceExhausted, Unavailable, YiVideoError
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)

_MAX_UNREAD = 10_000


class _Stream:
    """What one client has yet to read, and how its stream ends."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[lock_pb2.SessionResponse | YiVideoError | None] = asyncio.Queue(
            _MAX_UNREAD + 1
        )
        self.closed = False

    def send(self, message: lock_pb2.SessionResponse) -> None:
        """Queue a message; the stream of a client that does not read fails."""
        if self._messages.qsize() >= _MAX_UNREAD:
            self.fail(ResourceExhausted("the client does not read its messages"))
        elif not self.closed:
            self._messages.put_nowait(message)

    def fail(self, fault: YiVideoError) -> None:
        """End the stream with an error, once what was sent is read."""
        self._close(fault)

    def end(self) -> None:
        """End the stream well, once what was sent is read."""
        self._close(None)

    def _close(self, last: YiVideoError | None) -> None:
        if not self.closed:
            self.closed = True
            self._messages.put_nowait(last)

    async def responses(self) -> Responses:
        """Yield messages; raises what the stream fails with."""
        while (message := await self._messages.get()) is not None:
            if isinstance(message, YiVideoError):
                raise message
            yield message


class LocalLocks:
    """Arbitrates devices among the sessions of this process."""

    def __init__(
        self, devices: Sequence[GpuDevice], *, token_floor: int = 0, rules: LocalRules | None = None
    ) -> None:
        self._rules = rules or LocalRules()
        self._arbiter = Arbiter(devices, self._rules, self._deliver, token_floor=token_floor)
        self._streams: dict[str, _Stream] = {}

    @property
    def requests(self) -> list[Request]:
        """What waits or holds at this moment, in the order of asking."""
        return list(self._arbiter)

    @asynccontextmanager
    async def open(self, requests: Requests) -> AsyncIterator[Responses]:
        """Open a session: its first message is a hello. Iterating it raises what ends it."""
        stream = _Stream()
        reader = asyncio.create_task(self._serve(requests, stream))
        try:
            yield stream.responses()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def ask_back(self, message: str, *, grace_seconds: float = 0.0) -> None:
        """Ask every holder to stop, as a soft timeout does; one that has not within the grace is revoked (0: it is not)."""
        for request in self._holders():
            reason = lock_pb2.STOP_REASON_SOFT_TIMEOUT
            self._arbiter.ask_to_stop(request, reason, message, grace_seconds=grace_seconds)

    def take_back(self, message: str, request_id: str = "") -> None:
        """Revoke a lease (empty: every one), as an operator does; its devices are granted again when its holder has confirmed."""
        for request in self._holders():
            if request_id in ("", request.id):
                self._arbiter.force(request, message)

    def _holders(self) -> list[Request]:
        return [request for request in self._arbiter if request.state is State.HELD]

    def _deliver(self, client_id: str, message: lock_pb2.SessionResponse) -> None:
        stream = self._streams.get(client_id)
        if stream is not None:
            stream.send(message)

    async def _serve(self, requests: Requests, stream: _Stream) -> None:
        client_id = ""
        try:
            async for request in requests:
                if stream.closed:
                    return
                if client_id:
                    self._take(client_id, request)
                else:
                    client_id = self._greet(request, stream)
            stream.end()
        except YiVideoError as error:
            stream.fail(error)
        except Exception as error:
            log.error("a session broke", client=client_id, exc_info=error)
            stream.fail(Unavailable("the session broke; open another"))
        finally:
            if client_id and self._streams.get(client_id) is stream:
                del self._streams[client_id]
                self._arbiter.detach(client_id)

    def _greet(self, request: lock_pb2.SessionRequest, stream: _Stream) -> str:
        if request.WhichOneof("message") != "hello":
            raise InvalidArgument.at("/message", "the first message must be hello")
        check_hello(request.hello)
        client_id = request.hello.client_id
        if (older := self._streams.get(client_id)) is not None:
            older.fail(Unavailable("the client has opened another session"))
            self._arbiter.detach(client_id)  # what it still waits for it asks for again
        self._streams[client_id] = stream
        welcome = lock_pb2.Welcome(
            replica="local",
            beat_seconds=math.inf,
            ttl_seconds=math.inf,
            waiter_grace_seconds=self._rules.waiter_grace_seconds,
            epoch=1,
        )
        stream.send(lock_pb2.SessionResponse(welcome=welcome))
        return client_id

    def _take(self, client_id: str, request: lock_pb2.SessionRequest) -> None:
        kind = request.WhichOneof("message")
        if kind is None or kind == "hello":
            raise InvalidArgument.at("/message", "must be one message, and hello only once")
        message = getattr(request, kind)
        request_id = message.acquire.request_id if kind == "reclaim" else message.request_id
        try:
            self._handle(client_id, message)
        except InvalidArgument as error:
            field = error.fields[0].pointer.lstrip("/") if error.fields else ""
            answer = refused(request_id, error.code, error.message, field)
            self._deliver(client_id, lock_pb2.SessionResponse(refused=answer))

    def _handle(self, client_id: str, message: object) -> None:
        arbiter = self._arbiter
        match message:
            case lock_pb2.Acquire():
                arbiter.acquire(client_id, to_ask(message))
            case lock_pb2.Reclaim():
                check_reclaim(message)
                arbiter.reclaim(client_id, to_ask(message.acquire).request_id, message.token)
            case lock_pb2.Cancel():
                check_request_id(message.request_id)
                arbiter.cancel(client_id, message.request_id)
            case lock_pb2.Renew():
                check_request_id(message.request_id)
                arbiter.renew(client_id, message.request_id, message.token)
            case lock_pb2.Release():
                check_request_id(message.request_id)
                arbiter.release(client_id, message.request_id, message.token)
            case lock_pb2.Park():
                check_request_id(message.request_id)
                check_park(message)
                arbiter.park(client_id, message)
            case lock_pb2.Confirm():
                check_request_id(message.request_id)
                arbiter.confirm(client_id, message.request_id, message.token)
