"""The process that decodes a track by `sound_decoding`: a `SoundJob` in, a `SoundReport` out; started as a program."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))

from media.sound_decoding import decode_sound
from media.sound_job import SoundJob
from media.worker import serve

if __name__ == "__main__":
    serve(SoundJob, decode_sound)
