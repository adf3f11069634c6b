"""Laws of finding devices. NVIDIA's own bindings run for real; the driver's library is a stub, because no card is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from nodekit.gpu.devices import own_devices
from nodekit.gpu.settings import GpuDevice, GpuSection
from tests.nodekit.gpu.lock_service import ROOT

_FIND = """
import json
from nodekit.gpu.devices import find_devices
print(json.dumps([device.model_dump() for device in find_devices()]))
"""


def find(driver: Path | None, **environment: str) -> list[dict[str, object]]:
    """Look for devices in a process of its own, with the driver's library from a folder."""
    path = {"LD_LIBRARY_PATH": str(driver)} if driver else {}
    done = subprocess.run(
        [sys.executable, "-c", _FIND],
        cwd=ROOT,
        env={**os.environ, **path, **environment},
        capture_output=True,
        check=True,
        timeout=30,
    )
    found: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stub of the driver's library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the stub of the driver's library")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("nvml_stub.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(source)], check=True
    )
    return folder


def test_devices_are_found_by_their_uuid(driver: Path) -> None:
    """NVML's devices become `gpu-<index>`, shown by UUID, with their memory in MiB."""
    assert find(driver) == [
        {"name": "gpu-0", "visible": "GPU-5f2c", "memory_mib": 24 * 1024},
        {"name": "gpu-1", "visible": "GPU-77aa", "memory_mib": 48 * 1024},
    ]


@pytest.mark.parametrize("call", ["init", "count", "memory"])
def test_driver_that_fails_shows_no_device(driver: Path, call: str) -> None:
    """A driver that does not answer is as good as none; the node starts all the same."""
    assert find(driver, NVML_FAILS=call) == []


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a driver")
def test_machine_without_driver_has_no_device() -> None:
    """Without the driver's library no device is found."""
    assert find(None) == []


def test_configured_devices_count_alone() -> None:
    """Devices of the settings are taken as they are; without a `visible` they are shown by their place."""
    devices = (GpuDevice(name="a", memory_mib=10), GpuDevice(name="b", visible="GPU-b", memory_mib=20))
    assert [(device.name, device.visible) for device in own_devices(GpuSection(devices=devices))] == [
        ("a", "0"),
        ("b", "GPU-b"),
    ]


def test_contradicting_settings_are_refused() -> None:
    """A lock mode without an address, and two devices of one name, are said so at the start."""
    with pytest.raises(ValidationError, match="address of a lock service"):
        GpuSection(mode="lock")
    twin = GpuDevice(name="a", memory_mib=10)
    with pytest.raises(ValidationError, match="one name"):
        GpuSection(devices=(twin, twin))
