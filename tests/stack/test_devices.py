"""The devices that the embedded stack leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.devices import TRIAL_MIB, find_devices, parse_devices


def test_every_device_of_the_machine_is_named() -> None:
    """Each line of nvidia-smi is a device that processes see by its UUID, with less memory than the driver leaves."""
    found = parse_devices("GPU-5f2c, 81559\nGPU-77aa, 24564\n\n")
    assert [(one.name, one.visible) for one in found] == [("gpu-0", "GPU-5f2c"), ("gpu-1", "GPU-77aa")]
    assert [one.memory_mib for one in found] == [81047, 24052]


@pytest.mark.parametrize(
    ("script", "visible"), [("echo GPU-1, 1000", "GPU-1"), ("exit 9", "0"), ("echo", "0"), (None, "0")]
)
def test_a_machine_without_a_device_has_one_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, visible: str
) -> None:
    """Without nvidia-smi, or when it fails or shows nothing, there is one device, so that everything can be tried."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    (device,) = find_devices()
    assert device.visible == visible
    assert visible != "0" or device.memory_mib == TRIAL_MIB
