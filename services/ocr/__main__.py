"""Runs one replica of the node that reads: `python -m services.ocr`."""

from nodekit import serve
from services.ocr.node import node

if __name__ == "__main__":
    serve(node)
