"""How loud a file is, by ITU-R BS.1770 as ffmpeg measures it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from media.faults import FaultCode, MediaFault
from media.process import Runner

SILENT_LUFS = -70.0
_FIGURE = re.compile(r"^\s*(I|Peak):\s*(-?[\d.]+|-inf|nan)\s", re.MULTILINE)


@dataclass(frozen=True)
class Loudness:
    """What was measured."""

    lufs: float
    """Integrated loudness; -70 for silence."""
    true_peak_db: float
    """Highest peak between samples, in dBTP; -70 for silence."""

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to bring to a loudness."""
        return self.lufs <= SILENT_LUFS + 1


async def measure_loudness(runner: Runner, source: Sequence[str], name: str) -> Loudness:
    """Measure the first sound of an input; `source` are ffmpeg's arguments up to `-i <file>`, `name` is for messages.

    Raises:
        MediaFault: ffmpeg cannot measure it.
    """
    argv = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        *source,
        "-map",
        "0:a:0",
        "-af",
        "ebur128=peak=true:framelog=verbose",
    ]
    done = await runner.run([*argv, "-f", "null", "-"])
    found = dict(_FIGURE.findall(done.stderr_tail[-4000:]))
    if done.returncode != 0 or "I" not in found:
        raise MediaFault(FaultCode.MEDIA_UNREADABLE, f"ffmpeg cannot measure how loud {name} is")
    return Loudness(_number(found["I"]), _number(found.get("Peak", "-70")))


def _number(text: str) -> float:
    return SILENT_LUFS if text in ("-inf", "nan") else max(SILENT_LUFS, float(text))
