"""The settings section `ffmpeg`."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings


class FfmpegSection(Section):
    """What the ffmpeg node can be told beside what every node can."""

    hwaccel: Literal["cpu", "cuda"] = "cpu"
    """Where frames are decoded when the task leaves the choice to us. `cuda` holds GPU memory meanwhile; where ffmpeg or the
    card cannot,
    the processor decodes all the same."""
    decode_memory_mib: int = Field(1024, ge=0)
    """GPU memory that a decode asks for, in MiB; 0: a whole card."""


class FfmpegSettings(ProcessSettings):
    """Settings of the ffmpeg node's process."""

    ffmpeg: FfmpegSection = FfmpegSection()
    """The node's own."""


@functools.cache
def ffmpeg_settings() -> FfmpegSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(FfmpegSettings).ffmpeg
