"""The settings section `separate`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings

EngineName = Literal["auto", "roformer", "demucs", "deepfilternet", "repet"]


class SeparateSection(Section):
    """What the separation node can be told beside what every node can."""

    engine: EngineName = "auto"
    """Engine of tasks that name none. auto: RoFormer or demucs if its folder is set; else DeepFilterNet where speech is heard,
    REPET where music or singing is."""
    roformer_folder: Path | None = None
    """Folder of RoFormers (`<name>.ckpt` with `<name>.yaml`); needs the packages of `requirements-separator.in`."""
    roformer_model: str = ""
    """Model of that folder; empty: its first."""
    roformer_memory_mib: int = Field(8192, ge=0)
    """GPU memory that it asks for, in MiB; 0: a whole card."""
    demucs_folder: Path | None = None
    """Folder of demucs models (`htdemucs.yaml` and its `.th` files); needs the packages of `requirements-separation.in`."""
    demucs_model: str = ""
    """Model of that folder; empty: by the task's quality mode where the folder has it, else the folder's first."""
    demucs_memory_mib: int = Field(4096, ge=0)
    """GPU memory that it asks for, in MiB; 0: a whole card."""


class SeparateSettings(ProcessSettings):
    """Settings of the separation node's process."""

    separate: SeparateSection = SeparateSection()
    """The node's own."""


@functools.cache
def separate_settings() -> SeparateSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(SeparateSettings).separate
