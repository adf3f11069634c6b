"""The node itself: the modules with tasks declare them on it."""

from __future__ import annotations

from nodekit import Node

node = Node("wservice", slots=2)
