"""Reads query parameters and parts of the path, strictly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_origin

from aiohttp import web

from gateway.http.body import checked
from gateway.http.model import Query
from runtime.errors import InvalidArgument, PathRefused

Q = TypeVar("Q", bound=Query)


def read_query(request: web.Request, kind: type[Q]) -> Q:
    """Return the query parameters as a model; raises InvalidArgument with `?name` as the pointer."""
    if not request.rel_url.raw_query_string:
        return checked(kind, {}, prefix="?")
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        field = kind.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            values[name] = given
        elif len(given) > 1:
            raise InvalidArgument.at(f"?{name}", "is given more than once")
        else:
            values[name] = given[0]
    _require_text(values.values())
    return checked(kind, values, prefix="?")


def path_part(request: web.Request, name: str = "path") -> str:
    """Return one decoded part of the path; raises PathRefused when it is not text."""
    value = request.match_info[name]
    _require_text([value])
    return value


def _require_text(values: Iterable[Any]) -> None:
    for value in values:
        for text in value if isinstance(value, list) else [value]:
            if any("\ud800" <= character <= "\udfff" for character in text) or "\x00" in text:
                raise PathRefused("the address has bytes that are not UTF-8 text")
