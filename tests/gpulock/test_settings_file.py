"""The settings file: taken over at start and whenever it changes; a wrong one changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.section_names import CONFIG_VARIABLE
from tests.conftest import ROOT
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import monitor_pb2

NAME = "gpu_lock.max_wait_time"


async def in_force(running: Running, expected: float) -> monitor_pb2.Configuration:
    """Wait until a setting is in force."""
    async with asyncio.timeout(5):
        while True:
            found = await running.channel.monitor.GetConfiguration(monitor_pb2.GetConfigurationRequest())
            if json.loads(found.values[NAME]) == expected:
                return found
            await asyncio.sleep(0.02)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that YIVIDEO_CONFIG names."""
    path = tmp_path / "config.yml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    return path


def write(path: Path, **section: Any) -> None:
    """Replace the file, as an editor does."""
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump({"gpu_lock": section}))
    new.rename(path)


async def test_the_file_is_watched(replicas: Replicas, config: Path) -> None:
    """A changed file is in force for all replicas with the source `file`; a call's change of another setting stays."""
    write(config, max_wait_time=100)
    a = await replicas.replica(lock={"max_wait_time": 100}, monitor={}, file_check_seconds=0.05)
    first = await in_force(a, 100)
    assert first.source == "file"
    await a.channel.monitor.UpdateConfiguration(
        monitor_pb2.UpdateConfigurationRequest(values={"gpu_lock.lock_timeout": "900"}, source="me")
    )
    write(config, max_wait_time=200)
    second = await in_force(a, 200)
    assert second.source == "file"
    assert json.loads(second.values["gpu_lock.lock_timeout"]) == 900


async def test_a_wrong_file_changes_nothing(replicas: Replicas, config: Path) -> None:
    """The last good settings stay while the file is wrong, and its next good version is taken over."""
    write(config, max_wait_time=100)
    a = await replicas.replica(lock={"max_wait_time": 100}, monitor={}, file_check_seconds=0.05)
    before = await in_force(a, 100)
    write(config, max_wait_time=-5, nonsense=1)
    await asyncio.sleep(0.3)
    assert await in_force(a, 100) == before
    config.write_text("{ not: [yaml")
    await asyncio.sleep(0.3)
    assert await in_force(a, 100) == before
    write(config, max_wait_time=300)
    await in_force(a, 300)


async def test_a_restarted_replica_keeps_what_was_changed_by_call(replicas: Replicas, config: Path) -> None:
    """A replica that starts with the same file as before does not undo a call; one whose file has changed takes that over."""
    write(config, max_wait_time=100)
    a = await replicas.replica(lock={"max_wait_time": 100}, monitor={})
    await a.channel.monitor.UpdateConfiguration(
        monitor_pb2.UpdateConfigurationRequest(values={NAME: "150"}, source="me")
    )
    b = await replicas.replica(lock={"max_wait_time": 100}, monitor={})
    await in_force(b, 150)
    await replicas.replica(lock={"max_wait_time": 250}, monitor={})
    await in_force(a, 250)


async def test_settings_that_the_store_forgot_are_put_back(replicas: Replicas) -> None:
    """A store that went back in time takes no settings with it: who knows a later version puts it back for everybody."""
    a = await replicas.replica(lock={"max_wait_time": 100}, monitor={})
    key = a.replica.keys.configuration
    before = await a.replica.pipe.call("DUMP", key)
    await a.channel.monitor.UpdateConfiguration(
        monitor_pb2.UpdateConfigurationRequest(values={NAME: "150"}, source="me")
    )
    later = await in_force(a, 150)
    await a.replica.pipe.call("RESTORE", key, 0, before, "REPLACE")
    await a.replica.configuration.follow()
    assert await in_force(a, 150) == later
    b = await replicas.replica(lock={"max_wait_time": 100}, monitor={})
    assert await in_force(b, 150) == later


async def test_the_environment_goes_before_a_changed_file(
    replicas: Replicas, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment set at the start is still set after the file has changed somewhere else."""
    monkeypatch.setenv("YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__INTERVAL", "7")
    write(config, max_wait_time=100)
    a = await replicas.replica(
        lock={"max_wait_time": 100}, monitor={"heartbeat": {"interval": 7.0}}, file_check_seconds=0.05
    )
    write(config, max_wait_time=200)
    changed = await in_force(a, 200)
    assert json.loads(changed.values["gpu_lock_monitor.heartbeat.interval"]) == 7


async def test_a_swapped_directory_of_kubernetes_is_a_changed_file(
    replicas: Replicas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet replaces no file of a mounted ConfigMap: it turns one link, `..data`, to another folder."""

    def turn(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    base = (ROOT / "deploy" / "k8s" / "base" / "settings" / "settings.yaml").read_text()
    turn("..first", base)
    (tmp_path / "settings.yaml").symlink_to("..data/settings.yaml")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "settings.yaml"))
    a = await replicas.replica(lock={"max_wait_time": 300}, monitor={}, file_check_seconds=0.05)
    await in_force(a, 300)
    turn("..second", base.replace("max_wait_time: 300", "max_wait_time: 77"))
    assert (await in_force(a, 77)).source == "file"
