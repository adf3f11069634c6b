"""The process that decodes a film and writes its pictures: a `frame_job.FrameJob` in, a `FrameReport` out; started as a program."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from media.worker import serve
from services.ffmpeg.frame_decoding import decode
from services.ffmpeg.frame_job import FrameJob

if __name__ == "__main__":
    serve(FrameJob.of_fields, decode)
