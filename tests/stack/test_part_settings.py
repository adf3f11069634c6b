"""What `make run` says of settings before it starts anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.settings import SettingsError
from stack.assembly import Stack
from stack.part import PartFailed
from stack.settings import StackSection


def section(folder: Path) -> StackSection:
    return StackSection(folder=folder, gateway_listen="127.0.0.1:0", only=("ffmpeg",))


async def refused(folder: Path) -> str:
    """What a stack ends with."""
    with pytest.raises(SettingsError) as caught:
        async with Stack(section(folder)).running():
            pytest.fail("it is up")
    assert not list((folder / "logs").iterdir()), "a part was started"
    return str(caught.value)


@pytest.mark.trial("10.5")
async def test_the_settings_of_all_parts_are_checked_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fault of every part at once, those of a node's own section, too, each said once."""
    monkeypatch.setenv("YIVIDEO_SCHEDULER__MAX_RUNNING", "8")
    monkeypatch.setenv("YIVIDEO_GATEWAY__MAX_BODY_BYTES", "huge")
    monkeypatch.setenv("YIVIDEO_FFMPEG__HWACCELL", "none")
    monkeypatch.setenv("YIVIDEO_NODE__ORPHAN_SECONDS", "-1")
    said = await refused(tmp_path)
    assert "scheduler.limits.max_running (YIVIDEO_SCHEDULER__LIMITS__MAX_RUNNING)" in said
    assert "[YIVIDEO_GATEWAY__MAX_BODY_BYTES]" in said and "huge" not in said
    assert "ffmpeg.hwaccell" in said
    assert said.count("node.orphan_seconds") == 1


@pytest.mark.trial("10.5")
async def test_a_setting_that_the_stack_makes_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be ignored; the stack's own setting is named, and the variable or the line."""
    monkeypatch.setenv("YIVIDEO_GATEWAY__LISTEN", "127.0.0.1:1234")
    monkeypatch.setenv("YIVIDEO_SCHEDULER", '{"nodes": []}')
    config = tmp_path / "yivideo.yaml"
    config.write_text("filestore:\n  root: /data\n")
    monkeypatch.setenv("YIVIDEO_CONFIG", str(config))
    said = await refused(tmp_path / "run")
    assert (
        "set stack.gateway_listen (YIVIDEO_STACK__GATEWAY_LISTEN) instead [YIVIDEO_GATEWAY__LISTEN]" in said
    )
    assert (
        "scheduler.nodes: the stack chooses this itself for each of its parts; set stack.remote_nodes" in said
        and "[YIVIDEO_SCHEDULER at /nodes]" in said
    )
    assert f"[{config} line 2]" in said


@pytest.mark.trial("10.4")
async def test_what_the_machine_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing redis-server and a taken port are said before anything is started."""
    stack = Stack(section(tmp_path))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "redis-server" else which(name))
    with pytest.raises(PartFailed, match="redis-server is not on PATH"):
        async with stack.running():
            pytest.fail("it is up")
