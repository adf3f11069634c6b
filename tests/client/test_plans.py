"""What `yivideo run` makes of its words before anything is sent, and what it says on its way."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.client.test_fields import KIND
from yivideo_client.cli.bars import Bars
from yivideo_client.cli.failures import UsageError, tell
from yivideo_client.cli.fields import parse
from yivideo_client.cli.run import Plan, folder_names, jobs_of
from yivideo_client.cli.task_commands import facts
from yivideo_client.models import Event, Task
from yivideo_client.tries import Broken, connection_failed


def test_each_film_has_a_folder_of_its_name() -> None:
    """Where two have one stem, also by case alone, the later has a number behind it that no other folder has."""
    assert folder_names(["a/film.mp4", "b/other.mkv"]) == ["film", "other"]
    assert folder_names(["a/film.mp4", "b/film.mp4", "FILM.mkv", "film-2.mp4"]) == [
        "film", "film-2", "FILM-3", "film-2-2",
    ]  # fmt: skip


def test_what_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One film's results go into the folder itself, those of several below it; rows of one name are told by their path."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/film.mp4", "b/film.mp4", "c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (alone,) = jobs_of(Plan("node.task", ["c.mp4"], [], Path("out")), KIND)
    assert (alone.name, alone.source, alone.folder) == ("c.mp4", "c.mp4", Path("out"))
    several = jobs_of(Plan("node.task", ["a/film.mp4", "b/film.mp4", "c.mp4"], [], Path("out")), KIND)
    assert [job.folder for job in several] == [Path("out/film"), Path("out/film-2"), Path("out/c")]
    assert [job.name for job in several] == ["a/film.mp4", "b/film.mp4", "c.mp4"]
    assert [job.folder for job in jobs_of(Plan("node.task", ["a/film.mp4", "c.mp4"], []), KIND)] == [
        None,
        None,
    ]


def test_a_path_of_the_store_is_shown_its_place() -> None:
    """A word that is no local file is refused with the option that takes what is in the store."""
    with pytest.raises(
        UsageError, match=r"uploads/film.mp4: no such file here; .* --video_path uploads/film.mp4"
    ):
        jobs_of(Plan("node.task", ["uploads/film.mp4"], []), KIND)


@pytest.mark.parametrize(
    ("word", "near"),
    [("--sampel_rate", "--sample_rate"), ("--ouput-dir=x", "--output-dir")],
)
def test_an_unknown_option_has_a_neighbour(word: str, near: str) -> None:
    """Fields, and the command's own options, are offered for what looks like them."""
    with pytest.raises(UsageError, match=f"did you mean {near}?"):
        parse(KIND, [word], own=["--output-dir"])


def test_nothing_is_offered_for_what_looks_like_nothing() -> None:
    """A word far from all options only names where they are listed."""
    with pytest.raises(UsageError) as refused:
        parse(KIND, ["--zzzzzzzz"])
    assert "did you mean" not in str(refused.value)


def test_the_percentage_is_the_tasks_own(capsys: pytest.CaptureFixture[str]) -> None:
    """An upload that is whole says nothing of how far the task is, nor of one that then fails."""
    with Bars() as bars:
        bars.transfer("film.mp4", "uploaded", 5_000_000, 5_000_000)
        bars.event("film.mp4", Event("accepted", 1, {}))
        bars.event("film.mp4", Event("progress", 2, {"percent": 40, "message": "reads"}))
        bars.event("film.mp4", Event("failed", 3, {}))
        bars.transfer("whole.mp4", "uploaded", 1, 1)
        bars.event("whole.mp4", Event("progress", 2, {"percent": 95, "message": "reads"}))
        bars.event("whole.mp4", Event("completed", 3, {}))
    assert [line.split(maxsplit=1)[1].strip() for line in capsys.readouterr().err.splitlines()] == [
        "uploaded 5.0 of 5.0 MB", "0 %  accepted", "40 %  reads", "40 %  failed",
        "uploaded 0.0 of 0.0 MB", "95 %  reads", "100 %  completed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("http://127.0.0.1:8788", "is it up? `make run` starts one"),
        ("https://video.example", "is it up, and is that its address?"),
    ],
)
def test_a_server_that_is_away(address: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence: the address, the reason in the system's words, and what to do."""
    tell(connection_failed(address, ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 8788)")))
    assert capsys.readouterr().err == f"yivideo: {address} cannot be reached: connection refused; {hint}\n"


def test_a_name_that_nobody_knows() -> None:
    """The resolver's words are said, not its number as if it were one of the system's."""
    fault = Broken("Cannot connect to host nosuch.invalid:80 ssl:default [Name or service not known]")
    wrapped = OSError(-2, "Cannot connect")
    fault.__cause__, wrapped.__cause__ = wrapped, socket.gaierror(-2, "Name or service not known")
    said = str(connection_failed("http://nosuch.invalid", fault))
    assert said == "http://nosuch.invalid cannot be reached: name or service not known"


def test_an_empty_fact_is_not_shown() -> None:
    """The answer to a cancellation tells no type, so none is shown."""
    cancelled = Task.from_answer({"task_id": "t", "status": "cancelled"})
    assert facts(cancelled) == {"id": "t", "state": "cancelled"}
