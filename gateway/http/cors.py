"""Which pages of other origins may call a facade, and what they may send and read (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp_cors
from aiohttp import web

_MAX_AGE_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class CorsPolicy:
    """What holds for every route of one facade."""

    origins: tuple[str, ...]
    """`https://app.example`; `*`: any."""
    accepted_headers: tuple[str, ...]
    """Request headers that pages may send."""
    exposed_headers: tuple[str, ...]
    """Answer headers that pages may read."""
    credentials: bool = False
    """Whether browsers may send cookies along; never together with the origin `*`."""


def allow_origins(
    app: web.Application, routes: Iterable[tuple[web.AbstractRoute, CorsPolicy | None]]
) -> None:
    """Answer preflights and mark answers, by each route's policy."""
    cors = None
    for route, policy in routes:
        if policy is None or not policy.origins:
            continue
        cors = cors or aiohttp_cors.setup(app)
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
            allow_credentials=policy.credentials,
            expose_headers=policy.exposed_headers,
            allow_headers=policy.accepted_headers,
            max_age=_MAX_AGE_SECONDS,
        )
        cors.add(route, dict.fromkeys(policy.origins, options))
