"""What a warm model's worker process runs: loads the model once, then calls functions with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_loaded: list[Any] = []


def load_model(load: Callable[[], Any]) -> None:
    """Load the model and keep it for as long as the process lives."""
    _loaded.append(load())


def use_model(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function with the model as its first argument."""
    return function(_loaded[-1], *args, **kwargs)
