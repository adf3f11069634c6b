"""A package's Lua files as one library of Redis functions.

A script is compiled once as well, but everything in it runs again with every call: what many scripts share is made anew each time,
and each script has a copy of its own. A library is read once, for all of its functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from redislink.scripts import digest

_DIGITS = 16


@dataclass(frozen=True)
class Library:
    """A library, with a name that changes with its text: versions that run side by side do not take each other's functions away."""

    family: str
    name: str
    text: str

    def function(self, script: str) -> str:
        """Return the name that FCALL knows a script by."""
        return f"{self.name}_{script}"


def load_library(package: str) -> Library:
    """Return the files of a package's `lua/` as a library.

    First come `prelude.lua`, `prelude_2_….lua` and so on, which must define `script(name, body)` with what Redis needs to register
    a function named `NAMES .. name`; each other file is the body of the script that it is named after.
    """
    texts = {
        entry.name.removesuffix(".lua"): entry.read_text()
        for entry in (files(package) / "lua").iterdir()
        if entry.name.endswith(".lua")
    }
    preludes = [name for name in sorted(texts) if name.split("_")[0] == "prelude"]
    code = "".join(texts.pop(name) for name in preludes)
    code += "".join(f"\nscript('{name}', function()\n{texts[name]}end)\n" for name in sorted(texts))
    name = f"{package}_{digest(code)[:_DIGITS]}"
    return Library(package, name, f"#!lua name={name}\nlocal NAMES = '{name}_'\n{code}")
