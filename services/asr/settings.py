"""The settings section `asr`."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings


class AsrSection(Section):
    """What the speech recognition node can be told beside what every node can."""

    model: str = ""
    """The model that `auto` takes first: a name in the model store, or the absolute path of a CTranslate2 Whisper folder; empty:
    faster-whisper-base. Where it is not there the next one of the list is taken, and the result says so."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where Whisper runs when the task leaves the choice to us; auto: on a GPU that CTranslate2 can use, else on the processor.
    `cuda` holds a GPU lease while it hears."""
    compute_type: str = "auto"
    """CTranslate2's arithmetic; `auto`: int8 on processors, float16 on GPUs."""
    memory_mib: int = Field(6000, ge=0)
    """GPU memory that the model is leased, in MiB; 0: a whole card. large-v3 in float16 takes 4.5 GB and 1.5 GB a batch of 8."""
    batch_size: int = Field(8, ge=1, le=64)
    """Windows that are heard at once when the task does not say."""


class AsrSettings(ProcessSettings):
    """Settings of the speech recognition node's process."""

    asr: AsrSection = AsrSection()
    """The node's own."""


@functools.cache
def asr_settings() -> AsrSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(AsrSettings).asr
