"""`yivideo workflow` and the library's workflows against a whole stack, as their users type them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.conftest import RunningStack, running_stack
from tests.stories.test_command_line import yivideo
from yivideo_client import Client, WorkflowFailed

pytestmark = pytest.mark.slow  # each command is a process of its own
BROKEN = "1\n00:00:03,000 --> 00:00:01,000\nOne\n\n2\n00:00:02,000 --> 00:00:05,000\nTwo and more\n"
NOTHING = b"\x00\x01\x02" * 100


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack that mends subtitles."""
    with running_stack(tmp_path_factory.mktemp("workflow") / "run", only=["subtitle"]) as running:
        yield running


@pytest.fixture
def subtitles(tmp_path: Path) -> Path:
    """A subtitle file with faults."""
    path = tmp_path / "old.srt"
    path.write_text(BROKEN)
    return path


def test_a_file_goes_in_and_the_templates_results_come_out(
    stack: RunningStack, subtitles: Path, tmp_path: Path
) -> None:
    """One command uploads, runs the template with its parameters typed, and leaves what it calls results in the folder."""
    out = tmp_path / "out"
    words = ["--offset-seconds", "1.5", "--formats", "vtt", "--id", "mended", "-o", str(out)]
    shown = yivideo(stack, "workflow", "run", "mended_subtitles", str(subtitles), *words)
    lines = [line.split() for line in shown.splitlines()]
    assert (
        ["id", "mended"] in lines and ["state", "completed"] in lines and ["input", str(subtitles)] in lines
    )
    local = sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.suffix for path in local} >= {".srt", ".vtt"}
    assert sorted(line[-1] for line in lines if line[-1].startswith(str(out))) == [
        str(path) for path in local
    ]
    assert "00:00:03.500 --> " in next(path for path in local if path.suffix == ".vtt").read_text()
    watched = yivideo(stack, "workflow", "watch", "mended").splitlines()
    assert watched[-1].split()[1] == "completed"
    assert any(line.split()[1:3] == ["fixed", "started"] for line in watched)
    assert "mended_subtitles" in yivideo(stack, "workflow", "list", "--status", "completed")
    fetched = yivideo(stack, "workflow", "fetch", "mended", str(tmp_path / "again")).splitlines()
    assert sorted(Path(path).name for path in fetched) == [
        path.name for path in sorted(local, key=lambda one: one.name)
    ]
    assert "record, events and indexes deleted" in yivideo(stack, "workflow", "delete", "mended")
    assert "WORKFLOW_NOT_FOUND" in yivideo(stack, "workflow", "get", "mended", code=4)


def test_what_is_ready_made(stack: RunningStack) -> None:
    """Templates say whether they can run here, and one shows its parameters; a name that is nearly one is answered with it."""
    listed = json.loads(yivideo(stack, "workflow", "templates", "-o", "json"))
    here = {one["name"]: one["available"] for one in listed}
    assert here["mended_subtitles"] and not here["film_to_subtitles"]
    assert "no: " in yivideo(stack, "workflow", "templates")
    assert "--offset-seconds" in yivideo(stack, "workflow", "run", "mended_subtitles", "--help")
    assert "did you mean mended_subtitles" in yivideo(
        stack, "workflow", "run", "mended_subtitle", "x", code=4
    )
    said = yivideo(stack, "workflow", "run", "mended_subtitles", "--offset_second", "1", code=2)
    assert "did you mean --offset_seconds?" in said


def test_a_failure_is_told_mended_and_let_go_on(stack: RunningStack, tmp_path: Path) -> None:
    """Exit code 1 names the task at fault; of what goes on, the stream has both ends and the watcher reads to the second."""
    with Client(stack.url) as client:
        (tmp_path / "old.srt").write_bytes(NOTHING)
        client.files.upload(tmp_path / "old.srt", "later/old.srt")
        words = ["workflow", "run", "mended_subtitles", "--subtitles", "later/old.srt", "--id", "again"]
        assert "wservice.fix_subtitles" in yivideo(stack, *words, code=1)
        (tmp_path / "old.srt").write_text(BROKEN)
        client.files.upload(tmp_path / "old.srt", "later/old.srt")
        yivideo(stack, "workflow", "retry", "again")
        yivideo(stack, "workflow", "wait", "again", "--timeout", "30")
        names = [event.name for event in client.workflows.watch("again")]
        assert names.count("workflow_failed") == 1 and names[-1] == "workflow_completed"
        assert [task.key for task in client.workflows.get("again").tasks] == ["fixed", "files"]


def test_many_workflows_and_their_end(stack: RunningStack, subtitles: Path) -> None:
    """The library runs, lists as an iterator, cancels; a failed one raises with the code of the task at fault."""
    with Client(stack.url) as client:
        done = client.run_workflow("mended_subtitles", {"subtitles": subtitles}, workflow_id="from-library")
        assert done.status == "completed" and done.template == "mended_subtitles"
        with pytest.raises(WorkflowFailed) as failed:
            (subtitles.parent / "nothing.srt").write_bytes(NOTHING)
            nothing = {"subtitles": subtitles.parent / "nothing.srt"}
            client.run_workflow("mended_subtitles", nothing, on_event=lambda _: None)
        assert failed.value.code != "UNKNOWN" and failed.value.workflow.counts["failed"] == 2
        waiting = {
            "key": "wait", "task_name": "wservice.fix_subtitles",
            "input_data": {"subtitle_path": "x"}, "delay_seconds": 600,
        }  # fmt: skip
        client.workflows.submit_tasks([waiting], workflow_id="stopped")
        assert "cancelled" in yivideo(stack, "workflow", "cancel", "stopped")
        assert {"from-library", "stopped"} <= {one.workflow_id for one in client.workflows.list(page_size=1)}
