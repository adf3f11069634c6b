"""Runs one replica of the diarization node: `python -m services.diarize`."""

from nodekit import serve
from services.diarize.node import node
from services.diarize.settings import diarize_settings

if __name__ == "__main__":
    diarize_settings()  # what is wrong in them ends the process now and not a task later
    serve(node)
