"""Runs one replica of the node that speaks: `python -m services.tts`."""

from nodekit import serve
from services.tts.node import node
from services.tts.settings import tts_settings

if __name__ == "__main__":
    tts_settings()  # what is wrong in them ends the process now and not a task later
    serve(node)
