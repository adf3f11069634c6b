"""A route: where it is, who may call it, what goes in and out. Dispatch, auth, metrics, OpenAPI and tests read this one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp.typedefs import Handler
from pydantic import BaseModel

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Content:
    """A body that is not JSON: its media type, and its schema when it has parts worth naming."""

    media_type: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string", "format": "binary"})


Body = type[BaseModel] | Content | None
Bodies = Body | tuple[type[BaseModel] | Content, ...]
"""One body, or one for each media type that a client may ask for."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation. The handler's docstring is its description."""

    method: str
    path: str
    """aiohttp's template; `{name:.+}` matches slashes too."""
    handler: Handler
    tag: str
    scope: str | None
    """What the caller must be allowed, in the words of the facade's principal policy; None: open to everybody."""
    answers: Mapping[int, Bodies]
    """Body of each good answer by status."""
    body: Body = None
    body_optional: bool = False
    """Whether the body may be left out."""
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that it reads, with what they do."""
    faults: tuple[int, ...] = ()
    """Error statuses of its own, beside those any route may answer."""
    quiet: bool = False
    """Whether it is asked every few seconds: logged at debug."""
