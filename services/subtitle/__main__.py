"""Runs one replica of the subtitle node: `python -m services.subtitle`."""

from nodekit import serve
from services.subtitle.node import node

if __name__ == "__main__":
    serve(node)
