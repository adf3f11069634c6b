"""The README's commands, run as a new user would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodekit.models import model_store
from stack.demo.film import Film
from stack.node_table import read_node_table
from tests.conftest import ROOT
from tests.stories.conftest import RunningStack, running_stack


@pytest.fixture
def echoing_stack(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningStack]:
    """A stack as the README starts it: with the echo page, which callbacks may reach, and two nodes that share a device."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("YIVIDEO_GATEWAY__ECHO", "true")
    nodes = re.search(r"YIVIDEO_STACK__NODES='(.*)' make run", (ROOT / "README.md").read_text())
    assert nodes is not None
    with running_stack(
        tmp_path / "run", gateway_listen=address, allow_addresses=[address], nodes=nodes[1]
    ) as stack:
        yield stack


def steps(number: int) -> list[str]:
    """Return the commands of one of the README's `sh` blocks, split at their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return re.split(r"^# ", blocks[number], flags=re.M)


def run(commands: str, folder: Path, *, seconds: float = 60, **environment: str) -> str:
    """Run commands as a shell does; returns what they printed."""
    script = f"set -eu\n{commands}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, (commands, done.stdout, done.stderr)
    return done.stdout


def test_the_readme_with_curl_only(echoing_stack: RunningStack, film: Film, tmp_path: Path) -> None:
    """Upload, submit, events, result, download, callback log and delete work as printed, in order."""
    preamble, *parts = steps(0)
    said: dict[str, str] = {}
    for part in parts:
        title, _, commands = part.partition("\n")
        printed = run(f"{preamble}\n{commands}", tmp_path, YIVIDEO=echoing_stack.url, FILM=str(film.video))
        said[title.split()[0].strip(".,")] = printed
        if title.startswith("The result"):
            link = json.loads(printed.splitlines()[0])["result"]["output"]["audio_path_minio_url"]
            assert link.startswith(echoing_stack.url)
            with urllib.request.urlopen(link, timeout=10) as response:
                assert response.read() == (tmp_path / "first.wav").read_bytes()

    assert json.loads(said["Upload"])["file_path"] == "films/first.mp4"
    assert json.loads(said["Submit"])["task_id"] == "first"
    assert "event: completed" in said["Watch"]
    assert '"status":"completed"' in said["The"].replace(" ", "")
    assert (tmp_path / "first.wav").read_bytes()[:4] == b"RIFF"
    assert [delivery["http_status"] for delivery in json.loads(said["How"])["deliveries"]] == [200]
    batch = json.loads(said["Many"])
    assert (batch["accepted"], batch["failed"]) == (2, 0)
    assert json.loads(said["Wait"])["state"] == "completed"
    assert said["Remove"].count('"status":"success"') == 3


def test_the_readmes_ends_of_workflows(echoing_stack: RunningStack, tmp_path: Path) -> None:
    """One is waited for; one that runs is cancelled, then deleted and gone. Short workflows stand in for those of the films."""
    preamble, *parts = steps(3)
    commands = {part.split()[0].strip(".,"): part.partition("\n")[2] for part in parts}

    def printed(of: str) -> Any:
        return json.loads(run(f"{preamble}\n{commands[of]}", tmp_path, YIVIDEO=echoing_stack.url, FILM="-"))

    for workflow_id, seconds in (("read", 0.1), ("burned", 60)):
        work = {"key": "work", "task_name": "painter.work", "input_data": {"seconds": seconds}}
        body = json.dumps({"workflow_id": workflow_id, "tasks": [work]})
        post = f"curl -sS -f {echoing_stack.url}/v1/workflows -H 'Content-Type: application/json' -d '{body}'"
        run(post, tmp_path)
        if workflow_id == "read":
            assert printed("Or")["status"] == "completed"
    assert printed("Stop")["status"] == "cancelled"
    report = printed("Remove")
    assert (report["workflow_id"], report["status"]) == ("burned", "success")
    shown = run(
        f"curl -sS -o /dev/null -w '%{{http_code}}' {echoing_stack.url}/v1/workflows/burned", tmp_path
    )
    assert shown == "404"


def test_the_readmes_gpu_commands(echoing_stack: RunningStack, tmp_path: Path) -> None:
    """Each answers, and says what it is there for; afterwards the device is granted again."""
    preamble, *parts = steps(1)
    said: dict[str, str] = {}
    for part in parts:
        commands = f"{preamble}\n{part.partition(chr(10))[2]}"
        name = part.split()[0].strip(".,")
        for _ in range(100):
            said[name] = run(commands, tmp_path, YIVIDEO=echoing_stack.url)
            if name != "Who" or '"waiter_count":1' in said[name]:  # whoever types this comes later than we do
                break
    assert '"lock_holder":"paints"' in said["Who"] and '"task_id":"sculpts","purpose"' in said["Who"]
    assert "event: granted" in said["Every"] and "event: queued" in said["Every"]
    assert '"success":true' in said["Take"]
    assert [name in said["So"] for name in ("event: waiting_for_gpu", "event: completed")] == [True, True]
    assert '"total_attempts":2' in said["Figures"] and '"status":"healthy"' in said["Figures"]
    assert '"detail":"it hangs (anna, anonymous)"' in said["Figures"]
    assert '"gpu_lock_monitor.timeout_levels.hard_timeout":3600' in said["Ask"]
    drained, undrained = (json.loads(part) for part in re.findall(r"\{[^}]*\}", said["Grant"]))
    assert (drained["draining"], undrained["draining"]) == (True, False)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_readmes_speech(tmp_path: Path) -> None:
    """What is spoken is heard again, word for word, and lies there as subtitles."""
    rows = [row for row in read_node_table() if row.name in ("asr", "tts")]
    needed = {name for row in rows for name in row.prefers.models}
    if not all(map(model_store().has, needed)):
        pytest.skip(f"needs `make models names='{' '.join(sorted(needed))}'`")
    preamble, *parts = steps(2)
    with running_stack(tmp_path / "run", only=["asr", "tts"]) as stack:
        said = [run(f"{preamble}\n{part.partition(chr(10))[2]}", ROOT, YIVIDEO=stack.url) for part in parts]
    spoken, heard, subtitles, models = said
    assert json.loads(spoken)["state"] == "completed"
    assert json.loads(heard)["state"] == "completed"
    assert "Nothing is lost when a machine goes away." in subtitles
    assert "here  faster-whisper-base" in models
