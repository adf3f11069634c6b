"""API keys: how one is made and recognised; `python -m gateway.keys new --user alice` prints one, once."""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from gateway.settings import ApiKey

KEY_PREFIX = "yiv_"
"""Lets secret scanners, and people, see what a leaked string is."""

_RANDOM_BYTES = 32
MAX_KEY_LENGTH = 256
_MOST_DAYS = 36_500


def new_key() -> str:
    """Return a new key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def key_sha256(key: str) -> str:
    """Return what is stored of a key. A plain hash is enough: nobody can try 2^256 keys."""
    # What is not UTF-8 in a header comes as surrogates: such a key is as unknown as any other, and no fault of ours.
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a key that the gateway takes; the key goes to standard output once, its settings entry below it in both forms."""
    wanted = _parser().parse_args(arguments)
    key = new_key()
    entry: dict[str, object] = {"key_sha256": key_sha256(key), "user": wanted.user}
    if wanted.days:
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=wanted.days)
        entry["expires_time"] = expires.isoformat()
    entry["scopes"] = [part.strip() for part in wanted.scopes.split(",")]
    try:
        ApiKey.model_validate(entry)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            option = _OPTIONS.get(str(fault["loc"][0]), "")
            sys.stderr.write(f"{option}: {fault['msg']}\n")
        return 2
    sys.stdout.write(_shown(key, entry))
    return 0


_OPTIONS = {"user": "--user", "scopes": "--scopes", "expires_time": "--days"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys", description="Makes API keys of the gateway."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a key and show it once, with its entry for gateway.api_keys")
    new.add_argument("--user", required=True, help="whose tasks the key's tasks are")
    new.add_argument("--days", type=_days, default=0, help="days until it expires; 0: never")
    new.add_argument(
        "--scopes", default="tasks,files", help="comma-separated out of tasks, files, files:all, operations"
    )
    return parser


def _days(text: str) -> int:
    if not 0 <= (days := int(text)) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"0 to {_MOST_DAYS}")
    return days


def _shown(key: str, entry: Mapping[str, object]) -> str:
    as_yaml = "\n".join(f"      {name}: {json.dumps(value)}" for name, value in entry.items())
    return (
        f"key (shown once): {key}\n"
        f"a client sends it as `X-API-Key: {KEY_PREFIX}…` or `Authorization: Bearer {KEY_PREFIX}…`\n\n"
        "in the settings file, below the keys that are there:\n\n"
        f"gateway:\n  api_keys:\n    - {as_yaml.lstrip()}\n\n"
        "or in the environment, where it stands for all keys:\n\n"
        f"YIVIDEO_GATEWAY__API_KEYS='{json.dumps([entry])}'\n"
    )


if __name__ == "__main__":
    sys.exit(main())
