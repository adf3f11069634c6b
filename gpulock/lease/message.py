"""What the service has to say to a client about one request, before any transport gives it a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gpulock.store.record import Record

MessageKind = Literal[
    "queued", "granted", "renewed", "refused", "timeout", "warning", "stop", "lost", "released", "cancelled",
    "parked", "confirmed", "reclaim",
]  # fmt: skip


class ClientMessage(NamedTuple):
    """One message to a client."""

    kind: MessageKind
    client_id: str
    request_id: str
    token: int = 0
    record: Record | None = None
    detail: str = ""
    """queued: the reason; refused: the code; stop, lost: why; warning: seconds until the stop; timeout: seconds waited."""
    now_us: int = 0
    """Logical time at which it was true."""
    position: int = 0
    field: str = ""
    message: str = ""


@dataclass(frozen=True)
class Client:
    """Who asks."""

    client_id: str
    node: str = ""
    host: str = ""
