"""Deleting a task: its files, then its record, each reported by itself so that what failed can be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing, suppress

import grpc

from results.states import is_terminal
from runtime.channel import open_channel
from runtime.errors import Unavailable, WrongState, YiVideoError
from runtime.rpc_errors import translate
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from scheduler.api.cancellation import Cancellation
from scheduler.api.watching import TaskWatch
from scheduler.queue.record import TaskRecord
from scheduler.queue.task_store import TaskStore
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo.task.v1 import task_pb2

_FILES_TIMEOUT_SECONDS = 60.0
_STOP_SECONDS = 20.0


class Deletion:
    """Deletes tasks."""

    def __init__(
        self,
        tasks: TaskStore,
        cancellation: Cancellation,
        watch: TaskWatch,
        filestore_address: str,
        runtime: RuntimeSection,
    ) -> None:
        self._tasks = tasks
        self._cancellation = cancellation
        self._watch = watch
        self._channel = open_channel(filestore_address, runtime) if filestore_address else None

    async def aclose(self) -> None:
        """Close the channel to the filestore."""
        if self._channel is not None:
            await self._channel.close()

    async def delete(self, task_id: str, *, force: bool) -> task_pb2.DeleteTaskResponse:
        """Delete a task. Raises TaskNotFound; WrongState when it has not ended and `force` is not set."""
        record = await self._tasks.load_record(task_id)
        answer = task_pb2.DeleteTaskResponse()
        if not record.ended:
            if not force:
                raise WrongState(
                    f"task {task_id!r} is {record.state}; cancel it first, or delete it with force"
                )
            if not await self._stop(task_id):
                answer.results.add(
                    resource="redis",
                    status="failed",
                    message=f"the task was told to stop but has not ended within {_STOP_SECONDS:g} s",
                    retriable=True,
                )
                return self._finished(answer)
            answer.warnings.append("the task was cancelled first")
        answer.results.add(
            resource="local_directory",
            status="skipped",
            message="nodes keep no folder of an ended task; what it stored is reported under minio",
        )
        await self._delete_files(record, answer)
        await self._delete_record(task_id, answer)
        return self._finished(answer)

    async def _stop(self, task_id: str) -> bool:
        with suppress(WrongState):  # it is ending by itself, or is being cancelled already
            await self._cancellation.cancel(task_id, "deleted by force", None)
        try:
            async with asyncio.timeout(_STOP_SECONDS), aclosing(self._watch.watch(task_id, 0)) as events:
                async for event in events:
                    if is_terminal(event):
                        break
        except TimeoutError:
            return False
        return (await self._tasks.load_record(task_id)).ended

    async def _delete_files(self, record: TaskRecord, answer: task_pb2.DeleteTaskResponse) -> None:
        """Delete what the task's attempts have stored, and nothing else that lies below its id."""
        entry = answer.results.add(resource="minio", status="skipped")
        if self._channel is None:
            entry.message = "no filestore is configured"
            return
        stub = file_pb2_grpc.FileServiceStub(self._channel)
        try:
            request = file_pb2.DeleteFilesRequest(
                prefix=f"{record.task_id}/",
                task_id=record.task_id,
                caller=file_pb2.Caller(user=record.user),
            )
            done = await stub.DeleteFiles(request, timeout=_FILES_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as failed:
            error = translate(failed)
            entry.status, entry.message, entry.retriable = "failed", error.message, error.retryable
            return
        entry.details.CopyFrom(to_struct({"files": done.deleted_count, "bytes": done.deleted_bytes}))
        if done.failed_paths:
            entry.status, entry.retriable = "failed", True
            entry.message = (
                f"{len(done.failed_paths)} files could not be deleted, first {done.failed_paths[0]}"
            )
        elif done.deleted_count:
            entry.status, entry.message = "deleted", f"{done.deleted_count} files deleted"
        else:
            entry.message = "the task had stored no files"

    async def _delete_record(self, task_id: str, answer: task_pb2.DeleteTaskResponse) -> None:
        entry = answer.results.add(resource="redis")
        if any(other.status == "failed" for other in answer.results if other is not entry):
            # The record is what a second attempt finds the task by.
            entry.status, entry.retriable = "skipped", True
            entry.message = "kept, because its files could not all be deleted"
            return
        try:
            outcome = await self._tasks.delete(task_id)
        except Unavailable as error:
            entry.status, entry.message, entry.retriable = "failed", error.message, True
            return
        except YiVideoError as error:
            entry.status, entry.message = "failed", error.message
            return
        if outcome == "deleted":
            entry.status, entry.message = "deleted", "record, events and indexes deleted"
        elif outcome == "missing":
            entry.status, entry.message = "skipped", "it was gone already"
        else:
            entry.status, entry.message, entry.retriable = "failed", "the task runs again", True

    @staticmethod
    def _finished(answer: task_pb2.DeleteTaskResponse) -> task_pb2.DeleteTaskResponse:
        answer.status = overall(answer.results)
        answer.delete_time.GetCurrentTime()
        return answer


def overall(results: Iterable[task_pb2.DeletedResource]) -> str:
    """Return the word for how several resources fared: `success`, `partial_failed` or `failed`."""
    states = {entry.status for entry in results}
    if "failed" not in states:
        return "success"
    return "partial_failed" if "deleted" in states else "failed"
