"""GpuLease: what a task sees of the devices that it was given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nodekit.failure import TaskFailed
from nodekit.gpu.holding import Holding, Phase
from yivideo.gpulock.v1 import lock_pb2

LEASE_LOST = "GPU_LEASE_LOST"
LEASE_STOPPED = "GPU_LEASE_STOPPED"


@dataclass(frozen=True)
class LeaseDevice:
    """One device of a lease."""

    name: str
    """Its name in the pool, for example `gpu-0`."""
    visible: str
    """What the visible-device variable names it by."""
    memory_mib: int
    """Memory that may be used on it, in MiB."""


@dataclass(eq=False)
class GpuLease:
    """Devices in the hands of a task, for the time of the block. Without devices it is a CPU lease, which cannot be lost."""

    token: int = 0
    """Fencing token: greater than that of every earlier lease of the pool; 0 under a CPU lease."""
    devices: tuple[LeaseDevice, ...] = ()
    """The devices, in the order in which processes see them."""
    warm: bool = False
    """Whether a model was found loaded."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the devices are gone; the block is cancelled at the same time."""
    _holding: Holding | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether there is no device."""
        return not self.devices

    @property
    def memory_mib(self) -> int:
        """Memory that may be used on each device, in MiB; 0 under a CPU lease."""
        return min((device.memory_mib for device in self.devices), default=0)

    def check(self) -> None:
        """Raise TaskFailed (GPU_LEASE_LOST) when the lease is gone, or may be: nothing made now may count."""
        holding = self._holding
        if holding is None:
            return
        if holding.overdue:
            # The event loop was held up, or this process frozen, for longer than the lease lives.
            holding.expire()
        if holding.phase is Phase.LOST:
            raise lost_failure(holding)


def to_lease(holding: Holding | None) -> GpuLease:
    """Describe a holding to its task; None: a CPU lease."""
    if holding is None:
        return GpuLease()
    return GpuLease(
        token=holding.token,
        devices=tuple(
            LeaseDevice(device.device, device.visible, device.memory_mib) for device in holding.lease.devices
        ),
        warm=holding.lease.warm,
        _holding=holding,
    )


def lost_failure(holding: Holding) -> TaskFailed:
    """Return how the task fails whose lease is gone."""
    return TaskFailed(LEASE_LOST, f"the GPU lease is gone: {_why(holding.loss)}", retryable=True)


def stopped_failure(stop: lock_pb2.Stop) -> TaskFailed:
    """Return how the task fails that was asked to give its devices back."""
    return TaskFailed(LEASE_STOPPED, f"the GPU is taken back: {_why(stop)}", retryable=True)


def reason_name(reason: lock_pb2.StopReason.ValueType) -> str:
    """Return a reason as figures and logs name it, for example `hard_timeout`."""
    return lock_pb2.StopReason.Name(reason).removeprefix("STOP_REASON_").lower()


def _why(message: lock_pb2.Lost | lock_pb2.Stop) -> str:
    return message.message or reason_name(message.reason).replace("_", " ")
