"""Runs one replica of the separation node: `python -m services.separate`."""

from nodekit import serve
from services.separate.node import node
from services.separate.settings import separate_settings

if __name__ == "__main__":
    separate_settings()  # what is wrong in them ends the process now and not a task later
    serve(node)
