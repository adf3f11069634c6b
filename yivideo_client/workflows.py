"""Workflows over REST: submit, wait, watch, list, cancel, retry, delete; and from local files to local results in one call."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yivideo_client.errors import NotFound, WaitTimeout
from yivideo_client.files import Files
from yivideo_client.models import Event, listed, part
from yivideo_client.transport import CALL_SECONDS, Transport, quoted
from yivideo_client.watching import watched
from yivideo_client.workflow_models import WORKFLOW_ENDS, Template, Workflow, result_files
from yivideo_client.workflow_running import RunningWorkflows

_WAIT_SECONDS = 20
"""How long one request for a workflow's end is held; below what proxies cut."""
_PAGE_SIZE = 100


class Workflows(RunningWorkflows):
    """The workflows of one installation."""

    def __init__(self, transport: Transport, files: Files) -> None:
        self._transport = transport
        self._files = files

    async def submit(
        self,
        template: str,
        parameters: Mapping[str, Any],
        *,
        workflow_id: str | None = None,
        wait_seconds: int = 0,
        **options: Any,
    ) -> Workflow:
        """Ask for a workflow that is ready made; when this returns it is accepted, once however often the connection breaks.

        `options` are the other fields of the request (`callback`, `labels`). `wait_seconds` lets the server hold its answer
        until the workflow has ended.
        """
        body = {"template": template, "parameters": dict(parameters), **options}
        return await self._submitted(body, workflow_id, wait_seconds)

    async def submit_tasks(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *,
        workflow_id: str | None = None,
        wait_seconds: int = 0,
        **options: Any,
    ) -> Workflow:
        """Ask for tasks that run as one: each has `key`, `task_name` and `input_data`, which may refer to the others' outputs."""
        body = {"tasks": [dict(one) for one in tasks], **options}
        return await self._submitted(body, workflow_id, wait_seconds)

    async def _submitted(self, body: dict[str, Any], workflow_id: str | None, wait_seconds: int) -> Workflow:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        if workflow_id is not None:
            body["workflow_id"] = workflow_id
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        answer = await self._transport.call(
            "POST",
            "/v1/workflows",
            body=body,
            headers=headers,
            repeatable=True,
            seconds=CALL_SECONDS + wait_seconds,
        )
        return Workflow.from_answer(answer)

    async def get(self, workflow_id: str) -> Workflow:
        """Return everything about a workflow and its tasks."""
        return Workflow.from_answer(await self._transport.call("GET", _at(workflow_id)))

    async def wait(self, workflow_id: str, timeout_seconds: float | None = None) -> Workflow:
        """Return the workflow when it has ended, however. Raises WaitTimeout, and then it goes on."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = _WAIT_SECONDS if deadline is None else min(_WAIT_SECONDS, deadline - time.monotonic())
            headers = {"Prefer": f"wait={max(1, round(left))}"}
            workflow = Workflow.from_answer(
                await self._transport.call(
                    "GET", _at(workflow_id), headers=headers, seconds=CALL_SECONDS + _WAIT_SECONDS
                )
            )
            if workflow.ended:
                return workflow
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(
                    f"{workflow_id} had not ended after {timeout_seconds:g} s: it is {workflow.state}"
                )

    def watch(self, workflow_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events of a workflow and all of its tasks, those before this call too, until it has ended.

        A task's event has its `task_id`; the workflow's own are called `workflow_…`. What ended once and was let go on has more
        than one end in its history. A broken stream is taken up behind the last event: none is missed and none comes twice.
        """
        return watched(
            self._transport,
            _at(workflow_id, "/events"),
            after,
            lambda one: one.name in WORKFLOW_ENDS,
            may_go_on=True,
        )

    async def cancel(self, workflow_id: str) -> Workflow:
        """Ask that a workflow stop; it is cancelled, or `cancelling` while processes are being ended."""
        return Workflow.from_answer(await self._transport.call("DELETE", _at(workflow_id), repeatable=False))

    async def retry(self, workflow_id: str, from_tasks: Sequence[str] = ()) -> Workflow:
        """Let an ended workflow go on: what failed or was cancelled runs again, what completed keeps its result.

        `from_tasks` are keys of tasks that run again although they completed, with all that depends on them.
        """
        body = {"from_tasks": list(from_tasks)}
        return Workflow.from_answer(await self._transport.call("POST", _at(workflow_id, "/retry"), body=body))

    async def delete(self, workflow_id: str, *, force: bool = False) -> dict[str, Any]:
        """Remove a workflow, its tasks and their files; `force` cancels it first. Returns the report on each."""
        report: dict[str, Any] = await self._transport.call(
            "POST", _at(workflow_id, "/delete"), body={"force": force}
        )
        return report

    async def templates(self) -> Sequence[Template]:
        """Return the workflows that are ready made, in name order."""
        answer = await self._transport.read("/v1/workflows/templates")
        return [Template.from_answer(one) for one in listed(answer, "templates")]

    async def template(self, name: str) -> Template:
        """Return one template. Raises NotFound with the nearest names."""
        import difflib

        found = {one.name: one for one in await self.templates()}
        if name in found:
            return found[name]
        near = difflib.get_close_matches(name, found, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(found)}"
        raise NotFound(404, "UNKNOWN_TEMPLATE", f"there is no template {name!r}; {hint}")

    async def fetch_results(self, workflow: Workflow, folder: Path, *, every: bool = False) -> list[Path]:
        """Download what a workflow made into a folder, which is made: what its template calls its results; `every`: all files.

        Where two tasks made files of one name, each of these lies in a folder of its task's key. Returns the local paths.
        """
        template = None
        if workflow.template and not every:
            template = next((one for one in await self.templates() if one.name == workflow.template), None)
        return await self._fetched(result_files(workflow, template), folder)

    async def list(self, **conditions: Any) -> AsyncIterator[Workflow]:
        """Yield workflows, newest first, page by page, without their tasks: `status`, `user`."""
        query = {name: value for name, value in conditions.items() if value not in (None, "", [], ())}
        query.setdefault("page_size", _PAGE_SIZE)
        while True:
            page = await self._transport.call("GET", "/v1/workflows", query=query)
            for one in listed(page, "workflows"):
                yield Workflow.from_answer(one)
            if not part(page, "next_page_token"):
                return
            query["page_token"] = page["next_page_token"]


def _at(workflow_id: str, rest: str = "") -> str:
    return f"/v1/workflows/{quoted(workflow_id).replace('/', '%2F')}{rest}"
