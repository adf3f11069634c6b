"""The settings section `gpu`: where a node's GPU leases come from, and how they are shown to its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from runtime.settings import Section


class GpuDevice(Section):
    """One device that this node arbitrates by itself when there is no lock service."""

    name: str = Field(min_length=1, max_length=64)
    """Its name, for example `gpu-0`."""
    visible: str = ""
    """What a process's visible-device variable is set to; empty: the device's place in the list, from 0."""
    memory_mib: int = Field(gt=0)
    """Memory that can be leased, in MiB."""


class GpuSection(Section):
    """GPUs of one node replica."""

    mode: Literal["auto", "cpu", "lock"] = "auto"
    """`lock`: leases come from the lock service. `cpu`: the node asks for none. `auto`: from the lock service where `lock` names
    one, else the node's own devices, else as `cpu`."""
    lock: tuple[str, ...] = ()
    """Addresses of LockService, tried in turn; any replica serves any node."""
    pool: str = ""
    """Pool that requests name when the task does not; empty: the service's `default`."""
    devices: tuple[GpuDevice, ...] = ()
    """Devices to arbitrate without a lock service; empty: those that NVML finds."""
    host: str = ""
    """Name of the host as the lock service's devices have it (`gpulock.devices[].host`); empty: the machine's own. In a pod that is
    the pod's name, so the Kubernetes node's name is given here."""
    visible_variable: str = "CUDA_VISIBLE_DEVICES"
    """Environment variable that shows devices to a process; empty under a CPU lease."""
    memory_variable: str = "YIVIDEO_GPU_MEMORY_MIB"
    """Environment variable that tells a process how much memory it may use on each device, in MiB."""
    max_wait_seconds: float = Field(0, ge=0)
    """Longest wait for a lease when the task does not say; 0: the lock service's `gpu_lock.max_wait_time`."""
    unreachable_seconds: float = Field(60, gt=0)
    """How long a waiting task goes on while no replica of the lock service can be reached."""
    margin_seconds: float = Field(1, ge=0)
    """How long before a lease would expire its processes are ended; at most a third of the TTL is taken."""
    guard_root: Path | None = None
    """Folder, shared by the nodes of one host, that remembers each device's highest fencing token; unset: below the temporary
    folder."""
    max_warm: int = Field(1, ge=0, le=64)
    """Models that stay loaded between tasks; 0: none."""
    warm_idle_seconds: float = Field(900, ge=0)
    """How long a model that nobody uses stays loaded."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode == "lock" and not self.lock:
            raise ValueError("mode lock needs the address of a lock service in `lock`")
        names = [device.name for device in self.devices]
        if len(set(names)) < len(names):
            raise ValueError("two devices have one name")
        return self
