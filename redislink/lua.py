"""A package's Lua by the names of its files: as scripts (EVALSHA) or as one library of functions (FCALL).

Either way a name is called, and Redis is given the text when it turns out not to have it: it is new, was restarted, or failed over.
A script is compiled once, but everything in it runs with every call, the prelude too, and each script has a copy of its own. A
library is read once for all of its functions, and needs Redis 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Protocol

from redis.exceptions import NoScriptError, ResponseError

from redislink.pipe import Argument, Pipe

_DIGITS = 16
_UNKNOWN_FUNCTION = "ERR Function not found"
_LOADED_MEANWHILE = "already exists"


class LuaByName(Protocol):
    """What a Redis can be asked to run by name."""

    def head(self, name: str) -> tuple[Argument, ...]:
        """Return what the command that calls it begins with; the number of keys follows. Raises KeyError for an unknown name."""

    def is_missing(self, error: ResponseError) -> bool:
        """Whether Redis has answered that it does not have it (any more): nothing was done."""

    async def load(self, pipe: Pipe, name: str) -> None:
        """Give Redis the text."""


class Scripts:
    """Each name a script of its own."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)
        self._digests = {name: _digest(text) for name, text in texts.items()}

    def head(self, name: str) -> tuple[Argument, ...]:
        """Return EVALSHA and the script's digest."""
        return "EVALSHA", self._digests[name]

    def is_missing(self, error: ResponseError) -> bool:
        """Whether the script cache of a restarted or promoted Redis is empty."""
        return isinstance(error, NoScriptError)

    async def load(self, pipe: Pipe, name: str) -> None:
        """Put the script into the cache."""
        await pipe.call("SCRIPT", "LOAD", self._texts[name])


class Library:
    """All names functions of one library, whose name changes with its text: versions that run side by side keep their own."""

    def __init__(self, family: str, prelude: str, texts: Mapping[str, str]) -> None:
        """`prelude` must define `script(name, body)` so that it registers with Redis a function `NAMES .. name`."""
        code = prelude + "".join(
            f"\nscript('{name}', function()\n{texts[name]}end)\n" for name in sorted(texts)
        )
        self.family = family
        self.name = f"{family}_{_digest(code)[:_DIGITS]}"
        self._functions = {name: f"{self.name}_{name}" for name in texts}
        self._text = f"#!lua name={self.name}\nlocal NAMES = '{self.name}_'\n{code}"

    def head(self, name: str) -> tuple[Argument, ...]:
        """Return FCALL and the function's name."""
        return "FCALL", self._functions[name]

    def is_missing(self, error: ResponseError) -> bool:
        """Whether Redis does not know the function."""
        return str(error) == _UNKNOWN_FUNCTION

    async def load(self, pipe: Pipe, name: str) -> None:
        """Give Redis the whole library, unless somebody was quicker."""
        try:
            await pipe.call("FUNCTION", "LOAD", self._text)
        except ResponseError as error:
            if not str(error).endswith(_LOADED_MEANWHILE):
                raise


def load_scripts(package: str) -> dict[str, str]:
    """Return the text of every script of a package's `lua/`, its prelude put in front, by the name of its file."""
    prelude, texts = _read(package)
    return {name: prelude + text for name, text in texts.items()}


def load_library(package: str) -> Library:
    """Return the files of a package's `lua/` as a library."""
    return Library(package, *_read(package))


def _read(package: str) -> tuple[str, dict[str, str]]:
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


def _digest(text: str) -> str:
    """Return the name that EVALSHA knows a script by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
