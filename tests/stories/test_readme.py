"""The README's commands, run as a new user would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.demo.film import Film
from tests.conftest import ROOT
from tests.stories.conftest import RunningStack, running_stack

pytestmark = pytest.mark.slow


@pytest.fixture
def echoing_stack(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningStack]:
    """A stack as the README starts it: with the echo page, which callbacks may reach."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("YIVIDEO_GATEWAY__ECHO", "true")
    with running_stack(tmp_path / "run", gateway_listen=address, allow_addresses=[address]) as stack:
        yield stack


def steps() -> list[str]:
    """Return the commands of the README's `sh` block, split at their comments."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block, "the README has no sh block"
    return re.split(r"^# ", block[1], flags=re.M)


def test_the_readme_with_curl_only(echoing_stack: RunningStack, film: Film, tmp_path: Path) -> None:
    """Upload, submit, events, result, download, callback log and delete work as printed, in order."""
    preamble, *parts = steps()
    environment = {**os.environ, "YIVIDEO": echoing_stack.url, "FILM": str(film.video)}
    said: dict[str, str] = {}
    for part in parts:
        title, _, commands = part.partition("\n")
        script = f"set -eu\n{preamble}\n{commands}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (title, done.stdout, done.stderr)
        said[title.split()[0].strip(".,")] = done.stdout
        if title.startswith("The result"):
            link = json.loads(done.stdout.splitlines()[0])["result"]["output"]["audio_path_minio_url"]
            assert link.startswith(echoing_stack.url)
            with urllib.request.urlopen(link, timeout=10) as response:
                assert response.read() == (tmp_path / "first.wav").read_bytes()

    assert json.loads(said["Upload"])["file_path"] == "films/first.mp4"
    assert json.loads(said["Submit"])["task_id"] == "first"
    assert "event: completed" in said["Watch"]
    assert '"status":"completed"' in said["The"].replace(" ", "")
    assert (tmp_path / "first.wav").read_bytes()[:4] == b"RIFF"
    assert [delivery["http_status"] for delivery in json.loads(said["How"])["deliveries"]] == [200]
    assert '"success"' in said["Remove"]
