"""/v1/keys: the API keys of this installation, listed and revoked while it runs. They are made by `python -m gateway.keys new`."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from gateway.access import used_key, viewer
from gateway.clients.revocations import Revocations
from gateway.http.answer import answer
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, KEY_STATE, SETTINGS
from gateway.settings import ApiKey, GatewaySection, Scope
from gateway.use.instants import instant
from gateway.v1.answers.keys import KeyInfo, Keys
from gateway.v1.requests import RevokeKeyQuery
from runtime.errors import NotFound, WrongState
from yivideo.access.v1 import access_pb2

_ID_LENGTH = 16


async def list_keys(request: web.Request) -> web.StreamResponse:
    """List the API keys of the settings, and those that were revoked; never the keys themselves."""
    read_query(request, NoQuery)
    section = request.app[SETTINGS]
    revoked = {key.key_sha256: key for key in await Revocations(request.app[BACKEND]).all()}
    known = {key.key_sha256: key for key in section.api_keys}
    shown = [
        _shown(digest, known.get(digest), revoked.get(digest), section)
        for digest in sorted({*known, *revoked})
    ]
    return answer(Keys(keys=shown))


async def revoke_key(request: web.Request) -> web.StreamResponse:
    """Revoke a key of the settings, for good: here at once, at other gateways within seconds. 400 for the key that asks.

    It stays revoked although it stands in the settings, also after restarts. Make another with `python -m gateway.keys new`.
    """
    query = read_query(request, RevokeKeyQuery)
    section, caller = request.app[SETTINGS], viewer(request)
    key = _find(section, request.match_info["key_id"])
    if key is used_key(request):
        raise WrongState("a key cannot revoke itself: use another one")
    wanted = access_pb2.RevokeKeyRequest(key_sha256=key.key_sha256, user=caller.user, reason=query.reason)
    if key.expires_time is not None:
        wanted.expire_time.FromDatetime(_utc(key.expires_time))
    revoked = await Revocations(request.app[BACKEND]).revoke(wanted)
    request.app[KEY_STATE].note_one(key.key_sha256)
    return answer(_shown(key.key_sha256, key, revoked, section))


def _find(section: GatewaySection, key_id: str) -> ApiKey:
    found = [
        key for key in section.api_keys if len(key_id) >= _ID_LENGTH and key.key_sha256.startswith(key_id)
    ]
    if len(found) != 1:
        raise NotFound("no key of this gateway has this id")
    return found[0]


def _shown(
    digest: str, key: ApiKey | None, revoked: access_pb2.RevokedKey | None, section: GatewaySection
) -> KeyInfo:
    expires = _utc(key.expires_time) if key is not None and key.expires_time is not None else None
    rate = ""
    if key is not None:
        rate = section.rate_limit if key.rate_limit is None else key.rate_limit
    return KeyInfo(
        key_id=digest[:_ID_LENGTH],
        user=key.user if key else None,
        scopes=sorted(key.scopes) if key else [],
        rate_limit=rate,
        expires_at=expires,
        active=key is not None and revoked is None and (expires is None or expires > datetime.now(UTC)),
        revoked_at=instant(revoked.revoke_time) if revoked else None,
        revoked_by=revoked.user if revoked else None,
        reason=(revoked.reason or None) if revoked else None,
    )


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


ROUTES = (
    Route(method="GET", path="/v1/keys", handler=list_keys, tag="operations", scope=Scope.OPERATIONS,
          answers={200: Keys}),
    Route(method="DELETE", path="/v1/keys/{key_id}", handler=revoke_key, tag="operations", scope=Scope.OPERATIONS,
          query=RevokeKeyQuery, answers={200: KeyInfo}, faults=(404, 429)),
)  # fmt: skip
