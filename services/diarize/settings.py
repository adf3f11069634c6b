"""The settings section `diarize`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings

EngineName = Literal["auto", "pyannote", "neural", "mfcc"]


class DiarizeSection(Section):
    """What the diarization node can be told beside what every node can."""

    engine: EngineName = "auto"
    """Engine of tasks that name none. auto: the pipeline folder if one is set, else segmentation-3.0 with CAM++ if they are in the
    model store, else MFCC and pitch, which need nothing."""
    pipeline: Path | None = None
    """Folder of a pyannote.audio pipeline (`config.yaml` and its weights); needs the packages of `requirements-pyannote.in`."""
    pipeline_memory_mib: int = Field(4096, ge=0)
    """GPU memory that the pipeline asks for, in MiB; 0: a whole card."""


class DiarizeSettings(ProcessSettings):
    """Settings of the diarization node's process."""

    diarize: DiarizeSection = DiarizeSection()
    """The node's own."""


@functools.cache
def diarize_settings() -> DiarizeSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(DiarizeSettings).diarize
