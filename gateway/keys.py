"""API keys: how one is made and recognised; `python -m gateway.keys new --user alice` prints one, once."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

KEY_PREFIX = "yiv_"
"""Lets secret scanners, and people, see what a leaked string is."""

_RANDOM_BYTES = 32
MAX_KEY_LENGTH = 256


def new_key() -> str:
    """Return a new key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def key_sha256(key: str) -> str:
    """Return what is stored of a key. A plain hash is enough: nobody can try 2^256 keys."""
    # What is not UTF-8 in a header comes as surrogates: such a key is as unknown as any other, and no fault of ours.
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a key; the key goes to standard output once, the settings entry below it."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys", description="Makes API keys of the gateway."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a key and show it once, with its entry for gateway.api_keys")
    new.add_argument("--user", required=True, help="whose tasks the key's tasks are")
    new.add_argument("--days", type=int, default=0, help="days until it expires; 0: never")
    new.add_argument(
        "--scopes", default="tasks,files", help="comma-separated out of tasks, files, files:all, operations"
    )
    wanted = parser.parse_args(arguments)
    key = new_key()
    lines = [
        f"key (shown once): {key}",
        "",
        "gateway:",
        "  api_keys:",
        f"    - key_sha256: {key_sha256(key)}",
    ]
    lines.append(f"      user: {wanted.user}")
    if wanted.days > 0:
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=wanted.days)
        lines.append(f"      expires_time: {expires.isoformat()}")
    lines.append(f"      scopes: [{', '.join(part.strip() for part in wanted.scopes.split(','))}]")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
