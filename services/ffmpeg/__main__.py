"""Runs one replica of the ffmpeg node: `python -m services.ffmpeg`."""

from nodekit import serve
from services.ffmpeg.node import node

if __name__ == "__main__":
    serve(node)
