"""Files of the stack's folder that only their owner reads."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path


def new_callback_secret() -> str:
    """Make a Standard Webhooks secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def kept_secret(path: Path) -> str:
    """Read the secret, or make it at the first start: receivers must be able to keep theirs over restarts."""
    if not path.exists():
        write_private(path, new_callback_secret())
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads; it appears whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)
