"""`python -m tests.stories.sculptor`: one of the two nodes that share a device."""

from __future__ import annotations

from nodekit import serve
from tests.stories.gpu_work import make_node

if __name__ == "__main__":
    serve(make_node("sculptor"))
