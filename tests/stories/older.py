"""`python -m tests.stories.older`: one of the two nodes whose packages exclude each other."""

from __future__ import annotations

from nodekit import serve
from tests.stories.excluding_work import make_node

if __name__ == "__main__":
    serve(make_node("older", "speak_old"))
