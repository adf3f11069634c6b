"""The command `yivideo` against a whole stack, as its user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.demo.film import Film
from tests.stories.conftest import RunningStack, running_stack
from yivideo_client import Client


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, free_port) -> Iterator[RunningStack]:  # type: ignore[no-untyped-def]
    """One stack for all commands, which may call this machine back."""
    port = free_port()
    with running_stack(
        tmp_path_factory.mktemp("cli") / "run", allow_addresses=[f"127.0.0.1:{port}"]
    ) as running:
        running.card["callback_port"] = port
        yield running


def command(stack: RunningStack, *words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "yivideo_client.cli.main", "--url", stack.url, *words]


def yivideo(stack: RunningStack, *words: str, code: int = 0) -> str:
    """Run a command and return what it wrote as data."""
    done = subprocess.run(command(stack, *words), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_film_goes_in_and_its_sound_comes_out(stack: RunningStack, film: Film, tmp_path: Path) -> None:
    """One command uploads, runs, and leaves the result in the folder; again under the same id it does not run again."""
    words = ["run", "ffmpeg.extract_audio", str(film.video), "--sample-rate", "8000", "--id", "one", "--json"]
    first = json.loads(yivideo(stack, *words, "-o", str(tmp_path / "out")))
    with wave.open(str(tmp_path / "out" / "film.wav")) as sound:
        assert sound.getframerate() == 8000
    assert first["task_id"] == "one" and first["status"] == "completed"
    again = json.loads(yivideo(stack, *words))
    assert again["updated_at"] == first["updated_at"]
    assert "one/film.wav" in yivideo(stack, "file", "ls", "one/")
    assert "completed" in yivideo(stack, "task", "watch", "one")


def test_several_files_are_several_tasks(stack: RunningStack, film: Film, tmp_path: Path) -> None:
    """One that fails is told, with exit code 1; each of the others has a folder of its name, and what lies there is said."""
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    files = [str(film.video), str(tmp_path / "broken.mp4")]
    words = ["run", "ffmpeg.extract_audio", *files, "-o", str(tmp_path / "out")]
    done = subprocess.run(command(stack, *words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "MEDIA_UNREADABLE" in done.stderr
    assert "yivideo: broken.mp4: " in done.stderr
    sound = tmp_path / "out" / film.video.stem / "film.wav"
    assert list((tmp_path / "out").rglob("*.wav")) == [sound]
    shown = [line.split() for line in done.stdout.splitlines()]
    assert ["input", str(film.video)] in shown and ["written", str(sound)] in shown


def test_many_are_submitted_and_left(stack: RunningStack, film: Film, tmp_path: Path) -> None:
    """With --detach all go in one request; each line names a task that the stack then runs."""
    (tmp_path / "copy.mp4").write_bytes(film.video.read_bytes())
    files = [str(film.video), str(tmp_path / "copy.mp4")]
    lines = yivideo(stack, "run", "ffmpeg.extract_audio", *files, "--detach", "--json", "--jobs", "8")
    ids = [json.loads(line)["task_id"] for line in lines.splitlines()]
    assert len(set(ids)) == 2
    for task_id in ids:
        assert "completed" in yivideo(stack, "task", "wait", task_id, "--timeout", "30")


def test_the_installation_at_a_glance(stack: RunningStack) -> None:
    """Every part, the node with its engine and its version; as tables, and the same as the server says it."""
    found = json.loads(yivideo(stack, "status", "-o", "json"))
    assert found["status"] == "ok"
    assert {part["name"]: part["state"] for part in found["parts"]} == dict.fromkeys(
        ("gateway", "scheduler", "filestore", "gpulock"), "serving"
    )
    assert [part["replicas"] for part in found["parts"] if part["name"] == "scheduler"] == [1]
    (node,) = [node for node in found["nodes"] if node["node"] == "ffmpeg"]
    (replica,) = node["replica_list"]
    assert (replica["state"], replica["version"]) == ("connected", found["version"])
    assert replica["engines"] and replica["engines"][0].startswith("ffmpeg")
    shown = yivideo(stack, "status")
    assert "ffmpeg" in shown and "filestore" in shown and replica["address"] in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "ffmpeg.extract_audoi", "x"], 4, "did you mean ffmpeg.extract_audio"),
        (["run", "ffmpeg.extract_audio", "/nonexistent.mp4"], 2, "/nonexistent.mp4: no such file here"),
        (
            ["run", "ffmpeg.extract_audio", "--video_path", "x", "--sample_rate", "1"],
            2,
            "--sample_rate: 1 is less than the minimum of 8000",
        ),
        (["task", "list", "--status", "odd"], 3, "?status"),
        (["run", "ffmpeg.extract_audio", "--sample_rat", "1"], 2, "--sample_rat"),
        (["task", "get", "nobody"], 4, "TASK_NOT_FOUND"),
        (["file", "get", "no/such"], 4, "FILE_NOT_FOUND"),
        (["--profile", "nobody", "status"], 2, "nobody"),
        (
            ["--url", "http://127.0.0.1:9", "task", "list"],
            6,
            "cannot be reached: connection refused; is it up?",
        ),
    ],
)
def test_exit_codes(stack: RunningStack, words: list[str], code: int, said: str) -> None:
    """Each kind of failure has its exit code and names what is wrong, without a traceback."""
    shown = yivideo(stack, *words, code=code)
    assert said in shown and "Traceback" not in shown


def test_an_interrupted_run_cancels_its_task(stack: RunningStack, film: Film) -> None:
    """Ctrl-C on `yivideo run` ends the task on the server too."""
    with Client(stack.url) as client:
        client.tasks.submit("ffmpeg.extract_audio", {"video_path": "x"}, task_id="later", delay_seconds=600)
        words = ["run", "ffmpeg.extract_audio", str(film.video), "--id", "stopped", "--after", "later"]
        with subprocess.Popen(command(stack, *words), stderr=subprocess.PIPE) as run:
            assert run.stderr is not None
            assert any(b"accepted" in line for line in run.stderr)
            assert client.tasks.get("stopped").state == "blocked"
            run.send_signal(signal.SIGINT)
            assert run.wait(20) == 130
        assert client.tasks.get("stopped").state == "cancelled"


def test_a_watcher_that_leaves_changes_nothing(stack: RunningStack, film: Film) -> None:
    """Ctrl-C on `yivideo task watch` leaves the task alone."""
    with Client(stack.url) as client:
        client.tasks.submit("ffmpeg.extract_audio", {"video_path": "x"}, task_id="watched", delay_seconds=600)
        with subprocess.Popen(command(stack, "task", "watch", "watched"), stdout=subprocess.PIPE) as watch:
            assert watch.stdout is not None and b"accepted" in watch.stdout.readline()
            watch.send_signal(signal.SIGINT)
            assert watch.wait(20) == 130
        assert client.tasks.get("watched").state == "pending"


def test_a_callback_is_received(stack: RunningStack, film: Film) -> None:
    """`webhook listen` writes the verified callback of a task."""
    port = str(stack.card["callback_port"])
    environment = {**os.environ, "YIVIDEO_CALLBACK_SECRET": stack.callback_secret}
    listener = subprocess.Popen(
        command(stack, "webhook", "listen", "--port", port, "--count", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert listener.stderr is not None and b"callbacks go to" in listener.stderr.readline()
    url = f"http://127.0.0.1:{port}/"
    yivideo(stack, "run", "ffmpeg.extract_audio", str(film.video), "--id", "called", "--callback", url)
    out, _ = listener.communicate(timeout=30)
    body = json.loads(out)
    assert (body["task_id"], body["status"]) == ("called", "completed")
    assert "sent" in yivideo(stack, "callbacks", "called")


def test_its_own_options_hide_no_field(stack: RunningStack) -> None:
    """No field of any task type has the name of an option of `yivideo run`."""
    ours = {
        "output-dir", "id", "jobs", "detach", "priority", "callback", "label", "workflow", "quiet", "json", "after",
    }  # fmt: skip
    with Client(stack.url) as client:
        fields = {
            name.replace("_", "-")
            for kind in client.tasks.types()
            for name in kind.input_schema.get("properties", {})
        }
    assert not ours & fields
