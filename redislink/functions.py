"""A package's Lua files as one library of Redis functions.

A script is compiled once as well, but everything in it runs again with every call: what many scripts share is made anew each time,
and each script has a copy of its own. A library is read once, for all of its functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from redislink.scripts import digest, read_lua

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

    First comes the prelude, which must define `script(name, body)` so that it registers with Redis a function `NAMES .. name`;
    each other file is the body of the script that it is named after.
    """
    code, texts = read_lua(package)
    code += "".join(f"\nscript('{name}', function()\n{texts[name]}end)\n" for name in sorted(texts))
    name = f"{package}_{digest(code)[:_DIGITS]}"
    return Library(package, name, f"#!lua name={name}\nlocal NAMES = '{name}_'\n{code}")
