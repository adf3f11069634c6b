"""Workflows over REST: submitted once, watched past an end that was none, and results that do not lie on each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from gateway.templates.catalogue import TEMPLATES
from tests.client.conftest import ScriptedServer, broken_off
from tests.client.test_watch import written
from yivideo_client import AsyncClient, Template, WaitTimeout, Workflow, WorkflowFailed
from yivideo_client.cli.fields import input_file_field, parse
from yivideo_client.cli.run import Plan
from yivideo_client.cli.workflow_run import as_task_type, run
from yivideo_client.errors import NotFound
from yivideo_client.workflow_models import result_files
from yivideo_client.workflow_running import _targets


def template(name: str) -> Template:
    """A template as the gateway tells it."""
    one = TEMPLATES[name]
    return Template.from_answer(
        {"name": name, "parameters": one.schema, "tasks": one.task_names, "result": one.result}
    )


def ended(*tasks: tuple[str, dict[str, object], list[str]], **fields: object) -> Workflow:
    """A workflow whose tasks have outputs and files."""
    shown = [
        {
            "key": key, "task_id": f"w-{key}", "task_name": f"node.{key}", "state": "completed", "output": output,
            "minio_files": [{"path": path, "size": 1} for path in paths],
        }
        for key, output, paths in tasks
    ]  # fmt: skip
    return Workflow.from_answer({"workflow_id": "w", "status": "completed", "tasks": shown, **fields})


async def test_a_submission_that_breaks_is_the_same_one(server: ScriptedServer, client: AsyncClient) -> None:
    """The second attempt has the first one's Idempotency-Key and body."""
    seen: list[tuple[str, object]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["Idempotency-Key"], await request.json()))
        if len(seen) == 1:
            return broken_off(request)
        return web.json_response({"workflow_id": "w", "status": "pending", "tasks": []}, status=202)

    server.handler = answer
    workflow = await client.workflows.submit("mended_subtitles", {"subtitles": "a.srt"}, labels={"a": "b"})
    assert workflow.workflow_id == "w" and not workflow.ended
    assert seen[0] == seen[1]
    assert seen[0][1] == {
        "template": "mended_subtitles", "parameters": {"subtitles": "a.srt"}, "labels": {"a": "b"},
    }  # fmt: skip


async def test_a_watcher_reads_past_an_end_that_was_let_go_on(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """A task's end is not the workflow's, and behind the workflow's own end the server is asked whether more has followed."""
    events = [
        written(1, "workflow_accepted"), written(2, "failed", task_id="a"), written(3, "workflow_failed"),
        written(4, "workflow_retrying"), written(5, "completed", task_id="a"), written(6, "workflow_completed"),
    ]  # fmt: skip

    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID", 0))
        if after == len(events):
            return web.Response(status=204)
        upto = 3 if after < 3 else len(events)  # a server that closes at each end
        return web.Response(body=b"".join(events[after:upto]), content_type="text/event-stream")

    server.handler = answer
    assert [one.sequence async for one in client.workflows.watch("w")] == [1, 2, 3, 4, 5, 6]
    assert [one.sequence async for one in client.workflows.watch("w", 6)] == []


async def test_waiting_has_an_end(server: ScriptedServer, client: AsyncClient) -> None:
    """Time that is over raises and leaves the workflow; a failure raises the code of the task that failed of itself."""

    async def running(request: web.Request) -> web.StreamResponse:
        assert request.headers["Prefer"].startswith("wait=")
        return web.json_response({"workflow_id": "w", "status": "running", "tasks": []})

    async def failed(_: web.Request) -> web.StreamResponse:
        tasks = [
            {"task_id": code, "task_name": "n.t", "state": "failed", "error_detail": {"code": code, "message": "m"}}
            for code in ("DEPENDENCY_FAILED", "MEDIA_UNREADABLE")
        ]  # fmt: skip
        return web.json_response({"workflow_id": "w", "status": "failed", "tasks": tasks, "error": "n.t: m"})

    server.handler = running
    with pytest.raises(WaitTimeout, match="it is running"):
        await client.workflows.wait("w", 0.01)
    server.handler = failed
    with pytest.raises(WorkflowFailed, match="w failed: n") as raised:
        await client.workflows.finish("w")
    assert raised.value.code == "MEDIA_UNREADABLE"


async def test_pages_and_names(server: ScriptedServer, client: AsyncClient) -> None:
    """Lists go on page by page with their counts; a template that is not there is answered with its neighbours."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/templates"):
            return web.json_response({"templates": [{"name": name} for name in TEMPLATES]})
        last = request.query.get("page_token") == "next"
        one = {
            "workflow_id": "b" if last else "a",
            "status": "failed",
            "tasks": {"failed": 1, "completed": 2},
        }
        return web.json_response({"workflows": [one], "next_page_token": "" if last else "next"})

    server.handler = answer
    found = [one async for one in client.workflows.list(status="failed")]
    assert [one.workflow_id for one in found] == ["a", "b"] and found[0].counts["completed"] == 2
    with pytest.raises(NotFound, match="did you mean film_to_subtitles"):
        await client.workflows.template("film_to_subtitle")


async def test_an_interrupted_run_cancels_its_workflow(server: ScriptedServer, client: AsyncClient) -> None:
    """Ctrl-C, which cancels the command's work, ends the workflow on the server too."""
    watching, over = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        shown = {"workflow_id": "w", "status": "running", "tasks": []}
        if request.method == "DELETE":
            over.set()
        if not request.path.endswith("/events"):
            return web.json_response(shown)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        watching.set()
        await over.wait()
        return response

    server.handler = answer
    plan = Plan("mended_subtitles", [], ["--subtitles", "a.srt"])
    command = asyncio.create_task(
        run(client, plan, template("mended_subtitles"), print, every=False, quiet=True)
    )
    async with asyncio.timeout(10):
        await watching.wait()
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
    assert [one.path for one in server.seen if one.method == "DELETE"] == ["/v1/workflows/w"]


def test_results_are_what_the_template_calls_so() -> None:
    """The files that its references name, lists among them; what a task did not make is left out; all of them where asked."""
    workflow = ended(
        ("fixed", {"fixed_subtitle_path": "w-fixed/a.srt"}, ["w-fixed/a.srt", "w-fixed/other.bin"]),
        ("files", {"subtitle_files": {"srt": "w-files/a.srt", "vtt": "w-files/a.vtt"}},
         ["w-files/a.srt", "w-files/a.vtt"]),
    )  # fmt: skip
    named = result_files(workflow, template("mended_subtitles"))
    assert [file.path for _, file in named] == ["w-fixed/a.srt", "w-files/a.srt", "w-files/a.vtt"]
    assert _targets(named, Path("out")) == [
        Path("out/fixed/a.srt"), Path("out/files/a.srt"), Path("out/a.vtt"),
    ]  # fmt: skip
    assert len(result_files(workflow, None)) == 4


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_file_goes_to_the_parameter_that_takes_one(name: str, tmp_path: Path) -> None:
    """For each template that there is; the same file as an option is uploaded too."""
    kind = as_task_type(template(name))
    field = input_file_field(kind)
    assert field == ("subtitles" if name == "mended_subtitles" else "film")
    (tmp_path / "one.mp4").write_bytes(b"")
    assert parse(kind, [f"--{field}", str(tmp_path / "one.mp4")]) == {field: tmp_path / "one.mp4"}
