"""What a script's outcome means for the client that asked: one message."""

from __future__ import annotations

from gpulock.lease.message import Client, ClientMessage, MessageKind
from gpulock.store.record import Record, to_leased
from gpulock.store.script_store import Reply, exported, text


def ended(reply: Reply, client: Client, request_id: str) -> ClientMessage:
    """Say how a request that is asked for again has ended."""
    record = exported(reply.results[1])
    token = record.token if record else 0
    match text(reply.results[2]):
        case "timeout":
            return message(reply, "timeout", client, request_id, record=record)
        case "cancelled":
            return message(reply, "cancelled", client, request_id)
        case _:
            return message(reply, "released", client, request_id, token, record=record)


def held(reply: Reply, client: Client, request_id: str, token: int) -> ClientMessage:
    """Say what a holder's message about its lease came to."""
    match reply.outcome:
        case "renewed":
            record = to_leased(reply.results[1])
            return message(reply, "renewed", client, request_id, token, record=record)
        case "lost":
            return lost(reply, client, request_id, token)
        case "reclaim":
            left = max(0, reply.open_us - reply.now_us) / 1e6
            return message(reply, "reclaim", client, request_id, detail=str(left))
        case _:
            return stale(reply, client, request_id)


def lost(reply: Reply, client: Client, request_id: str, token: int) -> ClientMessage:
    """Say that a lease is gone, and why."""
    record = exported(reply.results[1])
    reason = text(reply.results[2])
    return message(
        reply,
        "lost",
        client,
        request_id,
        token or (record.token if record else 0),
        record=record,
        detail=reason,
    )


def stale(reply: Reply, client: Client, request_id: str) -> ClientMessage:
    """Refuse a token that is not that of the lease."""
    return message(reply, "refused", client, request_id, detail="GPU_LEASE_STALE")


def message(
    reply: Reply,
    kind: MessageKind,
    client: Client,
    request_id: str,
    token: int = 0,
    *,
    record: Record | None = None,
    detail: str = "",
    position: int = 0,
) -> ClientMessage:
    """Return a message to who asked, at the instant of the script."""
    return ClientMessage(
        kind, client.client_id, request_id, token, record, detail, reply.now_us, position=position
    )
