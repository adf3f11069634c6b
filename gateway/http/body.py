"""Reads a JSON body, strictly, into a model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.http.body_stream import STALLED_SECONDS, whole
from gateway.http.route import JSON
from runtime.errors import FieldViolation, InvalidArgument
from runtime.json_pointer import escaped

B = TypeVar("B", bound=BaseModel)

MAX_DEPTH = 24
"""Levels of a JSON body. Protobuf refuses messages deeper than 100, and a Struct takes three a level."""

_MAX_FAULTS = 16


async def read_body(request: web.Request, kind: type[B], *, optional: bool = False) -> B:
    """Return the JSON body as a model.

    Raises InvalidArgument (with JSON pointers) for another content type, text that is not JSON, a name that comes
    twice, NaN, or fields that do not fit; PayloadTooLarge past `max_body_bytes`, RequestTimeout. An optional body may be empty.
    """
    raw = await whole(request, request.client_max_size, request.app[STALLED_SECONDS])
    if not raw and optional:
        return kind()
    return checked(kind, _parsed(request, raw))


async def read_json(request: web.Request, limit_bytes: int = 0) -> Any:
    """Return the JSON body as plain values, for who chooses a model by them. Raises as `read_body`.

    `limit_bytes` in the place of `max_body_bytes` where it is given.
    """
    limit = limit_bytes or request.client_max_size
    return _parsed(request, await whole(request, limit, request.app[STALLED_SECONDS]))


def _parsed(request: web.Request, raw: bytes) -> Any:
    if request.content_type != JSON:
        # Also what keeps other sites' pages from sending bodies here: no form can have this type.
        raise InvalidArgument(f"send the body with Content-Type: {JSON}")
    return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """Parse JSON text by the letter of RFC 8259, refusing names that come twice; raises InvalidArgument."""
    try:
        value = orjson.loads(
            raw
        )  # strict about UTF-8, surrogates, NaN; but keeps the last of two equal names
        names, depth = _survey(value)
        if names != raw.count(
            b":"
        ):  # there is one for each name; more, where text has some or a name was lost
            value = json.loads(raw, object_pairs_hook=_once_each)
    except _NameTwice as twice:
        raise InvalidArgument(f"the name {twice.name!r} comes twice in one object") from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, orjson.JSONDecodeError) else "it is nested too deeply"
        raise InvalidArgument(f"the body is not JSON: {reason}") from None
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"the body is nested more than {MAX_DEPTH} levels deep")
    return value


class _NameTwice(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name[:64]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _NameTwice(name)
            seen.add(name)
    return made


def _survey(value: Any) -> tuple[float, int]:
    """Return how many names the objects in a value have, and how many levels there are, as far as MAX_DEPTH + 1.

    Where there is a number with a fraction or an exponent, or an integer past 64 bits, the names are NaN, equal to nothing:
    `orjson` reads such an integer as a float, and `json` does not.
    """
    level, depth, names = [value], 0, 0.0
    while level and depth <= MAX_DEPTH:
        below: list[Any] = []
        nested = False
        for item in level:
            if isinstance(item, dict):
                nested = True
                names += len(item)
                below.extend(item.values())
            elif isinstance(item, list):
                nested = True
                below.extend(item)
            elif isinstance(item, float):
                names = math.nan
        depth += nested
        level = below
    return names, depth


def checked(kind: type[B], value: Any, prefix: str = "") -> B:
    """Return the model of a value; raises InvalidArgument that names every field at fault."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = [
            FieldViolation(_pointer(fault["loc"], prefix), _reason(fault["msg"]))
            for fault in error.errors(include_url=False, include_input=False, include_context=False)[
                :_MAX_FAULTS
            ]
        ]
    first = faults[0]
    raise InvalidArgument(f"{first.pointer or 'the body'}: {first.detail}", fields=faults)


def _pointer(location: Sequence[int | str], prefix: str) -> str:
    if prefix:
        return prefix + ".".join(str(part) for part in location)
    return "".join(f"/{escaped(part)}" for part in location)


def _reason(message: str) -> str:
    if message.startswith("Extra inputs"):
        return "is not a field of this request"
    return message.removeprefix("Value error, ")
