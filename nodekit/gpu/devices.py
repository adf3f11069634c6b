"""The devices of this host: as configured, or as NVML finds them."""

from __future__ import annotations

from nodekit.gpu.settings import GpuDevice, GpuSection
from runtime.logs import get_logger

log = get_logger(__name__)

_MIB = 1024 * 1024


def own_devices(settings: GpuSection) -> tuple[GpuDevice, ...]:
    """Return the devices that the node may arbitrate by itself; none on a machine without a GPU."""
    if not settings.devices:
        return find_devices()
    return tuple(
        device if device.visible else device.model_copy(update={"visible": str(place)})
        for place, device in enumerate(settings.devices)
    )


def find_devices() -> tuple[GpuDevice, ...]:
    """Ask NVML for the host's devices, in its order: `gpu-<index>`, shown to processes by UUID.

    Returns none where the package `nvidia-ml-py` or the driver is missing, or the driver does not answer; the log says why.
    """
    try:
        import pynvml
    except ImportError:
        log.info("no GPU looked for", reason="nvidia-ml-py is not installed")
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("no GPU found", reason=str(error))
        return ()
    try:
        return tuple(_describe(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        log.warning("GPUs cannot be listed", reason=str(error))
        return ()
    finally:
        pynvml.nvmlShutdown()


def _describe(index: int) -> GpuDevice:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    total_bytes = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    return GpuDevice(
        name=f"gpu-{index}",
        # The UUID is the same whatever order the CUDA runtime counts in.
        visible=uuid.decode() if isinstance(uuid, bytes) else uuid,
        memory_mib=int(total_bytes) // _MIB,
    )
