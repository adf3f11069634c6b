"""Lua scripts by the name of their file."""

from __future__ import annotations

import hashlib
from importlib.resources import files


def read_lua(package: str) -> tuple[str, dict[str, str]]:
    """Return the prelude of a package's `lua/`, and every other file by its name.

    A long prelude may stand in several files, `prelude.lua` and `prelude_2_….lua` and so on, joined in this order.
    """
    texts = {
        entry.name.removesuffix(".lua"): entry.read_text()
        for entry in (files(package) / "lua").iterdir()
        if entry.name.endswith(".lua")
    }
    prelude = "".join(texts.pop(name) for name in sorted(texts) if name.split("_")[0] == "prelude")
    return prelude, texts


def load_scripts(package: str) -> dict[str, str]:
    """Return every script of a package's `lua/`, its prelude put in front, by the name of its file."""
    prelude, texts = read_lua(package)
    return {name: prelude + text for name, text in texts.items()}


def digest(text: str) -> str:
    """Return the name that EVALSHA knows a script by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
