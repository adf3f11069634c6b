"""The asynchronous client: `tasks`, `workflows`, `files`, and what goes from local files to local results in one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from yivideo_client.backoff import Backoff
from yivideo_client.connection import Connection, resolve
from yivideo_client.event_stream import read_events
from yivideo_client.files import Files
from yivideo_client.models import Event
from yivideo_client.running import Running
from yivideo_client.tasks import Tasks
from yivideo_client.transport import Transport
from yivideo_client.tries import FAULTS, Broken

if TYPE_CHECKING:
    from yivideo_client.workflow_models import Workflow
    from yivideo_client.workflows import Workflows


class AsyncClient(Running):
    """A session with one installation; use it with `async with`, in one event loop."""

    def __init__(
        self,
        connection: Connection | str | None = None,
        *,
        backoff: Backoff | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        """Connect as `connection` says: an address, or what environment and profile say when it is None.

        `on_trouble` is told in a sentence, in the event loop, when a server that was there stays away and is waited for.
        """
        given = connection if isinstance(connection, Connection) else resolve(connection)
        self._transport = Transport(given, backoff)
        self._transport.reach.on_trouble = on_trouble
        self.tasks: Tasks = Tasks(self._transport)
        self.files: Files = Files(self._transport)

    @cached_property
    def workflows(self) -> Workflows:
        """Workflows; loaded when they are first asked for, because a transfer's command does without."""
        from yivideo_client.workflows import Workflows

        return Workflows(self._transport, self.files)

    @property
    def connection(self) -> Connection:
        """Where this client speaks to."""
        return self._transport.connection

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._transport.__aexit__(*details)

    async def run_workflow(
        self,
        template: str,
        parameters: Mapping[str, Any],
        *,
        workflow_id: str | None = None,
        timeout_seconds: float | None = None,
        download_to: Path | str | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Workflow:
        """Run a template to its end: upload the local files of its parameters, submit, watch, and fetch its results.

        Values that are `pathlib.Path` are uploaded first, text is sent as it is. The workflow is not cancelled when this call
        is. Raises WorkflowFailed, WorkflowCancelled, and TimeoutError after `timeout_seconds`.
        """
        async with asyncio.timeout(timeout_seconds):
            sent = await self._uploaded(parameters)
            made = await self.workflows.submit(template, sent, workflow_id=workflow_id, **options)
            workflow = await self.workflows.finish(made.workflow_id, on_event)
            if download_to is not None:
                await self.workflows.fetch_results(workflow, Path(download_to))
        return workflow

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Make a request that has no method of its own here; returns the answer's JSON."""
        return await self._transport.call(method, path, **options)

    async def stream(self, path: str) -> AsyncIterator[Event]:
        """Yield the events of another stream than a task's, which has no end; one that breaks is taken up behind the last event.

        Raises ApiError, and ConnectionFailed when the server stays away.
        """
        tries, last = self._transport.tries(), ""
        while True:
            fault: Exception = Broken("the event stream ended")
            try:
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
                async with self._transport.request("GET", path, headers=headers) as response:
                    self._transport.reach.heard = True
                    async for event in read_events(response.content):
                        tries.progressed()
                        last = event.identity or last
                        if event.name != "heartbeat":
                            yield event
            except FAULTS as raised:
                fault = raised
            await tries.after(fault)
