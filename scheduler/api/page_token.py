"""Page tokens: where a listing goes on, signed and bound to the conditions that it was made by."""

from __future__ import annotations

import base64
import hashlib
import hmac

from runtime.errors import InvalidArgument

Cursor = tuple[int, str]
"""Accepted time in µs and id of the last task looked at."""

_DIGEST_BYTES = 12


class PageTokens:
    """Makes and reads tokens. All replicas need the same secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, conditions: bytes, cursor: Cursor) -> str:
        """Return the token of the page after the cursor."""
        text = f"{cursor[0]}:{cursor[1]}".encode()
        return base64.urlsafe_b64encode(self._digest(conditions, text) + text).decode().rstrip("=")

    def read(self, conditions: bytes, token: str) -> Cursor | None:
        """Return where the page begins; None for the first. Raises InvalidArgument for a token of another listing."""
        if not token:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            digest, text = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
            if not hmac.compare_digest(digest, self._digest(conditions, text)):
                raise ValueError("not ours")
            score, _, task_id = text.decode().partition(":")
            return int(score), task_id
        except ValueError:
            raise InvalidArgument.at("/page_token", "not a token of this listing") from None

    def _digest(self, conditions: bytes, text: bytes) -> bytes:
        return hmac.digest(self._secret, conditions + b"\0" + text, hashlib.sha256)[:_DIGEST_BYTES]
