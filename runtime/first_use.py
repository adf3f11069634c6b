"""Large packages that are imported when something of theirs is first used, in processes that may never do so.

A node computes in its workers. What its own process declares names their functions, and with them numpy, of which it uses nothing:
17 MiB and a fifth of a second for each node that waits for work. An HTTP client is needed by the first input that is a URL.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_loading = threading.RLock()
_begun: set[str] = set()
"""Packages that the thread which holds the lock is loading."""


class _Waiting(ModuleType):
    """A package that is not loaded yet. What the import system knows of it can be read (`inspect` looks through all modules)."""

    def __getattr__(self, name: str) -> Any:
        """Load, when it is a name of the package's own that is read, or its folder, which the import of a part begins with."""
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        with _loading:
            if self.__name__ in _begun:
                raise AttributeError(name)
            if self.__class__ is _Waiting:
                self._load()
        return getattr(self, name)

    def _load(self) -> None:
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__path__ = spec.submodule_search_locations or []
        _begun.add(self.__name__)
        try:
            spec.loader.exec_module(self)
        finally:
            _begun.discard(self.__name__)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on it is the package


def on_first_use(*names: str) -> None:
    """Have `import name` give a module that is loaded when one of its attributes is read; top-level packages only.

    A package that is loaded already, or is not installed, is left alone; `from name import …` and `import name.part` load it at
    once.
    """
    for name in names:
        if name not in sys.modules and (spec := _found(name)) is not None:
            sys.modules[name] = _waiting(spec)


def _found(name: str) -> ModuleSpec | None:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    return spec if spec is not None and spec.loader is not None else None


def _waiting(spec: ModuleSpec) -> ModuleType:
    module = module_from_spec(spec)
    if hasattr(module, "__path__"):
        del module.__path__
    module.__class__ = _Waiting
    return module
