"""The settings section `asr`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings


class AsrSection(Section):
    """What the node that hears can be told beside what every node can."""

    model: str = "auto"
    """Model that is used when the task names none: a name of the model store, or auto (see `model_folder`)."""
    model_folder: Path | None = None
    """Folder of a CTranslate2 Whisper model of your own (model.bin, config.json, tokenizer.json, vocabulary); auto takes it
    when it is there, else faster-whisper-base, else faster-whisper-tiny.en."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run when the task leaves the choice to us; auto: on a GPU that CTranslate2 can use, else on the processor."""
    compute_type: str = Field("default", pattern=r"^[a-z0-9_]{1,20}$")
    """CTranslate2's number format; default: int8 on the processor, float16 on a GPU."""
    gpu_memory_mib: int = Field(4000, ge=0)
    """GPU memory that a task asks for; 0: a whole card."""
    max_hours: float = Field(24, gt=0, le=1000)
    """Longest recording that is accepted."""


class AsrSettings(ProcessSettings):
    """Settings of the node's process."""

    asr: AsrSection = AsrSection()
    """The node's own."""


@functools.cache
def asr_settings() -> AsrSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(AsrSettings).asr
