"""Runs one replica of the ffmpeg node: `python -m services.ffmpeg`."""

from nodekit import serve
from services.ffmpeg.node import node
from services.ffmpeg.settings import ffmpeg_settings

if __name__ == "__main__":
    ffmpeg_settings()  # what is wrong in them ends the process now and not a task later
    serve(node)
