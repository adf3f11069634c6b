"""The settings section `tts`."""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings


class TtsSection(Section):
    """What the node that speaks can be told beside what every node can."""

    voice_zh: str = "zf_xiaoxiao"
    """Voice for Chinese when the task names none."""
    voice_en: str = "heart"
    """Voice for English when the task names none."""
    max_characters: int = Field(20_000, ge=1, le=1_000_000)
    """Longest text of one task."""
    indextts_folder: Path | None = None
    """Checkout of IndexTTS2's repository; None: it is not here."""
    indextts_model: Path | None = None
    """Folder of its weights (config.yaml, gpt.pth, …); None: `checkpoints` in the checkout."""
    indextts_python: Path | None = None
    """Python of its environment; None: `.venv/bin/python` in the checkout."""
    indextts_fp16: bool = False
    """Half the memory, on a GPU."""
    indextts_gpu_memory_mib: int = Field(8000, ge=0)
    """GPU memory that a task with IndexTTS2 asks for; 0: a whole card."""
    gptsovits_url: str = Field("", pattern=r"^$|^https?://[^\s]+$")
    """Address of a GPT-SoVITS server (`api_v2.py`); empty: none."""
    cosyvoice_url: str = Field("", pattern=r"^$|^https?://[^\s]+$")
    """Address of a CosyVoice server (its FastAPI runtime); empty: none."""
    server_seconds: float = Field(600, gt=0)
    """Longest time that such a server may take for one sentence."""


class TtsSettings(ProcessSettings):
    """Settings of the node's process."""

    tts: TtsSection = TtsSection()
    """The node's own."""


@functools.cache
def tts_settings() -> TtsSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(TtsSettings).tts
