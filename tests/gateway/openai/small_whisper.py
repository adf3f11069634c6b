"""`python -m tests.gateway.openai.small_whisper`: the small node that hears."""

from __future__ import annotations

from nodekit import serve
from tests.gateway.openai.small_nodes import hearing

if __name__ == "__main__":
    serve(hearing)
