"""Names of the sections of one settings file, and of the YIVIDEO_ variables that are no setting.

Each process reads its own sections and leaves the others to theirs, so it must know which those are: else a slip in a section's
name would be taken for the section of another process, and all of it silently ignored. Tests hold the list to the classes.
"""

from __future__ import annotations

import re

SECTIONS = frozenset(
    {
        "runtime", "stack", "gateway", "scheduler", "filestore", "gpulock", "gpu_lock", "gpu_lock_monitor", "node", "gpu",
        "asr", "tts", "ffmpeg", "separate", "diarize", "ocr", "llm",
    }
)  # fmt: skip
"""Sections that the processes of this repository read."""

CONFIG_VARIABLE = "YIVIDEO_CONFIG"
SECTIONS_VARIABLE = "YIVIDEO_SECTIONS"
"""Names, with blanks between, of sections that nodes of your own read."""

OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE, SECTIONS_VARIABLE, "YIVIDEO_TREE", "YIVIDEO_GPU_MEMORY_MIB",
        "YIVIDEO_URL", "YIVIDEO_API_KEY", "YIVIDEO_PROFILE", "YIVIDEO_CALLBACK_SECRET", "YIVIDEO_CA_FILE",
        "YIVIDEO_MODELS", "YIVIDEO_MODELS_FROM", "YIVIDEO_MODELS_HUB", "YIVIDEO_MODELS_MIRROR",
    }
)  # fmt: skip
"""Variables that something else reads: the model store, children of a node, the command line of clients, this module."""

PREFIX = "YIVIDEO_"
DELIMITER = "__"

# What Kubernetes puts into every pod for a service that is called yivideo-…: not ours to judge.
_SERVICE_LINK = re.compile(
    r"YIVIDEO_\w+?_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def is_setting(variable: str) -> bool:
    """Whether an environment variable (upper case) claims to be a setting."""
    return (
        variable.startswith(PREFIX)
        and variable not in OTHER_VARIABLES
        and not (DELIMITER not in variable and _SERVICE_LINK.fullmatch(variable))
    )


def variable_name(*names: str) -> str:
    """Return the variable of a setting: `scheduler`, `limits`, `max_running`."""
    return PREFIX + DELIMITER.join(names).upper()
