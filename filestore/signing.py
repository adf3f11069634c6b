"""Signs URLs that the gateway serves, for a store that cannot check URLs itself: an HMAC token that expires."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filestore.access import ANONYMOUS, NOBODY, Caller
from results.file_links import presigned_link
from runtime.errors import PermissionDenied

_KEY_BYTES = 32


class PresignMethod(enum.StrEnum):
    """What a presigned URL allows."""

    GET = "GET"
    PUT = "PUT"


@dataclass(frozen=True)
class Grant:
    """What a link lets whoever holds it do."""

    method: PresignMethod = PresignMethod.GET
    expires_seconds: int = 60
    download_name: str = ""
    caller: Caller = NOBODY
    """For whom the link was made; what is done by it is done for them."""
    task_id: str = ""
    """Task whose output a PUT writes; empty: none."""


class UrlSigner:
    """Makes tokens and checks them. A token names one file, one method, a user and an instant; it cannot be changed."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def url(self, bucket: str, path: str, grant: Grant) -> str:
        """Return path and query of a URL, to be joined to the gateway's public address."""
        claims = {
            "e": int(self._clock()) + grant.expires_seconds,
            "n": grant.download_name,
            "u": grant.caller.user,
            "a": int(grant.caller.all_files),
            "t": grant.task_id,
        }
        body = json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
        token = f"{_to_text(body)}.{_to_text(self._mac(bucket, path, grant.method, body))}"
        return presigned_link(bucket, path, token)

    def verify(self, bucket: str, path: str, method: PresignMethod, token: str) -> Grant:
        """Return what the token grants; raises PermissionDenied unless it is ours, current, and for exactly this.

        A token from before files had owners grants what it did, to `anonymous`, who owns the files of that time.
        """
        refusal = PermissionDenied("this link is wrong or was made for another file or method")
        body_text, _, mac_text = token.partition(".")
        try:
            body, mac = _from_text(body_text), _from_text(mac_text)
        except (ValueError, binascii.Error):
            raise refusal from None
        if not hmac.compare_digest(mac, self._mac(bucket, path, method, body)):
            raise refusal
        claims = json.loads(body)
        if self._clock() >= claims["e"]:
            raise PermissionDenied("this link has expired")
        caller = Caller(str(claims.get("u") or ANONYMOUS), bool(claims.get("a")))
        left = max(0, int(claims["e"] - self._clock()))
        return Grant(method, left, str(claims["n"]), caller, str(claims.get("t", "")))

    def _mac(self, bucket: str, path: str, method: PresignMethod, body: bytes) -> bytes:
        # Every field is preceded by its length, so no two requests sign the same bytes.
        message = b""
        for field in (b"yivideo-url-1", method.value.encode(), bucket.encode(), path.encode(), body):
            message += len(field).to_bytes(4, "big") + field
        return hmac.digest(self._key, message, hashlib.sha256)


def key_in(folder: Path) -> bytes:
    """Return the folder's own signing key, made at first use, so that links outlive a restart."""
    path = folder / "url.key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = os.urandom(_KEY_BYTES)
        aside = folder / "url.key.new"
        aside.unlink(missing_ok=True)
        aside.touch(mode=0o600, exist_ok=False)
        with aside.open("wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path.name} must hold {_KEY_BYTES} bytes")
    return key


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
