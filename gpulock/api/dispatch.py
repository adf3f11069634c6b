"""One message of a client: checked, asked of the lessor, answered."""

from __future__ import annotations

import asyncio

from gpulock.api.presenter import RELEASE_REASONS, reclaim_requested
from gpulock.api.session import Session
from gpulock.lease.lessor import Lessor
from gpulock.lease.message import ClientMessage
from leases.ask import Ask, check_park, check_reclaim, check_request_id, to_ask
from runtime.errors import InvalidArgument
from yivideo.gpulock.v1 import lock_pb2


async def handle(lessor: Lessor, session: Session, request: lock_pb2.SessionRequest) -> None:
    """Obey or refuse a message, and queue the answer. Raises InvalidArgument for one that ends the stream."""
    kind = request.WhichOneof("message")
    if kind is None or kind == "hello":
        raise InvalidArgument.at("/message", "must be one message, and hello only once")
    asked = getattr(request, kind)
    request_id = asked.acquire.request_id if kind == "reclaim" else asked.request_id
    session.asking = request_id if kind == "acquire" else ""
    try:
        answer = await _dispatch(lessor, session, kind, asked)
    except InvalidArgument as error:
        field = error.fields[0].pointer.lstrip("/") if error.fields else ""
        answer = ClientMessage("refused", session.client.client_id, request_id, detail=error.code,
                    field=field, message=error.message)  # fmt: skip
    if answer is not None:
        if answer.kind == "reclaim":
            session.outbound.put(reclaim_requested(lessor.epoch, float(answer.detail)))
        else:
            session.say(answer)
    session.asking = ""


async def _acquire(lessor: Lessor, session: Session, ask: Ask) -> ClientMessage | None:
    session.asks[ask.request_id] = ask
    session.taken_back.pop(ask.request_id, None)
    message = await lessor.acquire(session.client, ask)
    if ask.request_id not in session.waiting and (message is None or message.kind != "queued"):
        session.asks.pop(ask.request_id, None)
    return message


async def _dispatch(lessor: Lessor, session: Session, kind: str, message: object) -> ClientMessage | None:
    client = session.client
    match message:
        case lock_pb2.Acquire():
            return await _acquire(lessor, session, to_ask(message))
        case lock_pb2.Renew():
            check_request_id(message.request_id)
            remind = asyncio.get_running_loop().time() < session.remind_until
            return await lessor.renew(client, message.request_id, message.token, remind=remind)
        case lock_pb2.Release():
            check_request_id(message.request_id)
            reason = RELEASE_REASONS.get(message.reason, "normal")
            return await lessor.release(client, message.request_id, message.token, reason)
        case lock_pb2.Cancel():
            check_request_id(message.request_id)
            return await lessor.cancel(client, message.request_id)
        case lock_pb2.Park():
            check_request_id(message.request_id)
            check_park(message)
            return await lessor.park(
                client,
                message.request_id,
                message.token,
                message.model,
                message.memory_mib,
                message.load_seconds,
            )
        case lock_pb2.Confirm():
            check_request_id(message.request_id)
            return await lessor.confirm(client, message.request_id, message.token)
        case lock_pb2.Reclaim():
            granted_us, devices = check_reclaim(message), list(message.devices)
            return await lessor.reclaim(client, to_ask(message.acquire), message.token, devices, granted_us)
    raise InvalidArgument.at("/message", f"{kind} is not known")
