"""Runs one replica of the speech recognition node: `python -m services.asr`."""

from nodekit import serve
from services.asr.node import node
from services.asr.settings import asr_settings

if __name__ == "__main__":
    asr_settings()  # what is wrong in them ends the process now and not a task later
    serve(node)
