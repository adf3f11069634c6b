"""`python -m tests.gateway.openai.small_voice`: the small node that speaks."""

from __future__ import annotations

from nodekit import serve
from tests.gateway.openai.small_nodes import speaking

if __name__ == "__main__":
    serve(speaking)
