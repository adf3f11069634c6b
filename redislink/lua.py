"""A package's Lua by the names of its files, as one library of functions (FCALL, Redis 7).

A name is called, and Redis is given the library when it turns out not to have it: it is new, was emptied, or failed over. Of a
script (EVALSHA) everything would run with every call, the prelude too, and each would have a copy of its own (ADR 19).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files

from redis.exceptions import ResponseError

from redislink.pipe import Argument, Pipe

_DIGITS = 16
_UNKNOWN_FUNCTION = "ERR Function not found"
_LOADED_MEANWHILE = "already exists"


class Library:
    """All names functions of one library, whose name changes with its text: versions that run side by side keep their own."""

    def __init__(self, family: str, texts: Mapping[str, str]) -> None:
        """`texts`: those of the files, by name. `prelude`, then `prelude_2_…` and so on come first, and all but them are scripts.

        The preludes must define `script(name, body)` so that it registers with Redis a function `NAMES .. name`.
        """
        preludes = [name for name in sorted(texts) if name.split("_")[0] == "prelude"]
        scripts = sorted(texts.keys() - preludes)
        code = "".join(texts[name] for name in preludes)
        code += "".join(f"\nscript('{name}', function()\n{texts[name]}end)\n" for name in scripts)
        self.family = family
        self.name = f"{family}_{_digest(code)[:_DIGITS]}"
        self._functions = {name: f"{self.name}_{name}" for name in scripts}
        self._text = f"#!lua name={self.name}\nlocal NAMES = '{self.name}_'\n{code}"

    def head(self, name: str) -> tuple[Argument, ...]:
        """Return what the command that calls it begins with; the number of keys follows. Raises KeyError for an unknown name."""
        return "FCALL", self._functions[name]

    def is_missing(self, error: ResponseError) -> bool:
        """Whether Redis has answered that it does not know the function (any more): nothing was done."""
        return str(error) == _UNKNOWN_FUNCTION

    async def load(self, pipe: Pipe) -> None:
        """Give Redis the whole library, unless somebody was quicker."""
        try:
            await pipe.call("FUNCTION", "LOAD", self._text)
        except ResponseError as error:
            if not str(error).endswith(_LOADED_MEANWHILE):
                raise

    async def forget_other_versions(self, pipe: Pipe) -> None:
        """Delete the libraries of other versions; one that still runs loads its own again."""
        for facts in await pipe.call("FUNCTION", "LIST", "LIBRARYNAME", f"{self.family}_*"):
            name = dict(zip(facts[::2], facts[1::2], strict=True))[b"library_name"].decode()
            if name != self.name:
                with suppress(ResponseError):  # another replica was quicker
                    await pipe.call("FUNCTION", "DELETE", name)


def read_lua(package: str) -> dict[str, str]:
    """Return the texts of the files of a package's `lua/` by their names, without `.lua`."""
    return {
        entry.name.removesuffix(".lua"): entry.read_text()
        for entry in (files(package) / "lua").iterdir()
        if entry.name.endswith(".lua")
    }


def load_library(package: str) -> Library:
    """Return the files of a package's `lua/` as a library."""
    return Library(package, read_lua(package))


def _digest(text: str) -> str:
    """Return what tells one text from another."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
