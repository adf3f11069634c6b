"""Answers about API keys. None of them holds a key."""

from __future__ import annotations

from datetime import datetime

from gateway.http.model import Answer


class KeyInfo(Answer):
    """One API key of this gateway's settings, or one that was revoked and stands there no longer."""

    key_id: str
    """First 16 hex digits of its SHA-256: what names it here and in logs."""
    user: str | None
    """Whose tasks its tasks are; null: it stands in the settings no longer."""
    scopes: list[str]
    """What it may do."""
    rate_limit: str
    """How often it may be used, `100/minute` for example; empty: without limit."""
    expires_at: datetime | None
    """When it stops working; null: never."""
    active: bool
    """Whether it works now."""
    revoked_at: datetime | None
    """When it was revoked; null: it was not."""
    revoked_by: str | None
    """Whose key revoked it."""
    reason: str | None
    """Why it was revoked; null: it was not, or nobody said."""


class Keys(Answer):
    """All API keys, in the order of their ids."""

    keys: list[KeyInfo]
    """The keys."""
