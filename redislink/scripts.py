"""Lua scripts by the name of their file."""

from __future__ import annotations

import hashlib
from importlib.resources import files


def load_scripts(package: str) -> dict[str, str]:
    """Return every script of a package's `lua/`, its prelude put in front, by the name of its file."""
    folder = files(package) / "lua"
    prelude = (folder / "prelude.lua").read_text()
    return {
        entry.name.removesuffix(".lua"): prelude + entry.read_text()
        for entry in folder.iterdir()
        if entry.name.endswith(".lua") and entry.name != "prelude.lua"
    }


def digest(text: str) -> str:
    """Return the name that EVALSHA knows a script by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
