"""A lock service inside the process, for a node that runs alone: the same messages and promises over its own devices."""

from nodekit.gpu.local.locks import LocalLocks
from nodekit.gpu.local.rules import LocalRules

__all__ = ["LocalLocks", "LocalRules"]
