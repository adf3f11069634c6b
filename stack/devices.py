"""Which devices the embedded stack leases: those of this machine, or one to try things with where there is none."""

from __future__ import annotations

import shutil
import subprocess

from pydantic import Field

from runtime.settings import Section

_QUERY_SECONDS = 10.0
_DRIVER_MIB = 512
"""What the driver and the context of a first process take of a device."""

TRIAL_MIB = 8192


class StackDevice(Section):
    """One device that the stack's lock service leases."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """Unique name, for example `gpu-0`."""
    memory_mib: int = Field(gt=0)
    """Memory that can be leased, in MiB."""
    visible: str = Field("", max_length=128)
    """What `CUDA_VISIBLE_DEVICES` is set to for its holder; empty: the name."""
    pool: str = "default"
    """Pool; devices of one pool are interchangeable."""


def parse_devices(text: str) -> tuple[StackDevice, ...]:
    """Read what `nvidia-smi --query-gpu=uuid,memory.total --format=csv,noheader,nounits` printed."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return tuple(
        StackDevice(name=f"gpu-{number}", visible=uuid, memory_mib=max(1, int(memory) - _DRIVER_MIB))
        for number, (uuid, memory) in enumerate(rows)
    )


def find_devices() -> tuple[StackDevice, ...]:
    """Return this machine's NVIDIA devices; without any, one that is arbitrated like a real one and runs nothing."""
    program = shutil.which("nvidia-smi")
    if program is not None:
        asked = subprocess.run(
            [program, "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False,
        )  # fmt: skip
        if asked.returncode == 0 and (found := parse_devices(asked.stdout)):
            return found
    return (StackDevice(name="gpu-0", visible="0", memory_mib=TRIAL_MIB),)
