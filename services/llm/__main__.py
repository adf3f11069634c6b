"""Runs one replica of the language model node: `python -m services.llm`."""

from nodekit import serve
from services.llm.node import node

if __name__ == "__main__":
    serve(node)
