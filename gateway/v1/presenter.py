"""Shows tasks to REST clients in the shapes of the first YiVideo. Nothing here calls anybody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from gateway.use.instants import instant
from gateway.use.states import callback_status, message
from gateway.v1.answers import tasks as answers
from gateway.v1.answers.operations import DeliveryInfo
from results import node_result as results
from results.node_result import FileUrl, plain
from results.states import STATUS, TERMINAL, State, state_word
from yivideo.task.v1 import task_pb2


def _optional_instant(task: task_pb2.Task | task_pb2.TaskSpec, field: str) -> datetime | None:
    return instant(getattr(task, field)) if task.HasField(field) else None  # type: ignore[arg-type]


def error_detail(error: task_pb2.TaskError) -> answers.ErrorDetail:
    """Show why a task failed."""
    return answers.ErrorDetail(**results.error_detail(error))


def result(task: task_pb2.Task) -> answers.TaskResult | None:
    """Show the single node result, as callbacks do too; None until the task has ended."""
    shown = results.node_result(task)
    return None if shown is None else answers.TaskResult(**shown)


def minio_files(files: Iterable[task_pb2.OutputFile], url: FileUrl) -> list[answers.MinioFile]:
    """Show stored outputs, as callbacks do too."""
    return [answers.MinioFile(**file) for file in results.stored_files(files, url)]


def progress_of(task: task_pb2.Task) -> answers.ProgressInfo | None:
    """Show the progress of a task: that of its attempt, and all of it once the task has completed."""
    if not task.HasField("progress"):
        return None
    shown = progress(task.progress)
    if task.state == State.TASK_STATE_COMPLETED:
        shown.percent = 100.0
    return shown


def progress(value: task_pb2.Progress) -> answers.ProgressInfo:
    """Show how far an attempt is."""
    return answers.ProgressInfo(
        percent=round(value.percent, 2),
        stage=value.stage,
        message=value.message,
        data=plain(value.data),
    )


def submitted(task: task_pb2.Task, url: FileUrl) -> answers.SubmitAnswer:
    """Answer a submission: a new task, or the one that existed."""
    ended = task.state in TERMINAL
    shown = answers.SubmitAnswer(
        task_id=task.spec.task_id,
        status=STATUS[task.state],
        state=state_word(task.state),
        message=message(task) if ended else _accepted(task),
    )
    if task.reuse.hit:
        shown.reuse_info = reuse_info(task)
        shown.message = (
            "The task existed already; this is its result."
            if ended
            else "The task is under way already; its callback comes when it ends."
        )
    if ended:
        shown.result = result(task)
        shown.minio_files = minio_files(task.files, url)
    return shown


def _accepted(task: task_pb2.Task) -> str:
    """Say that a task was taken; also that nobody is there to run it, which most callers would not look for."""
    said = "The task was accepted"
    return f"{said}: {task.waiting_reason}." if task.lacks_replica else f"{said}."


def reuse_info(task: task_pb2.Task) -> answers.ReuseInfo:
    """Show that the answer is an earlier task's."""
    reuse = task.reuse
    shown = answers.ReuseInfo(
        reuse_hit=True, task_name=reuse.task_name or task.spec.task_name, source=reuse.source or "redis"
    )
    if reuse.HasField("cached_time"):
        shown.cached_at = instant(reuse.cached_time)
    elif task.state in TERMINAL:
        shown.cached_at = _optional_instant(task, "end_time") or instant(task.update_time)
    if task.state not in TERMINAL:
        shown.state = reuse.state or state_word(task.state)
    return shown


def status(task: task_pb2.Task, url: FileUrl) -> answers.TaskStatus:
    """Show a task to somebody who waits for it."""
    created = instant(task.create_time)
    shown = answers.TaskStatus(
        task_id=task.spec.task_id,
        task_name=task.spec.task_name,
        status=STATUS[task.state],
        state=state_word(task.state),
        message=message(task),
        result=result(task),
        minio_files=minio_files(task.files, url),
        progress=progress_of(task),
        create_at=created,
        created_at=created,
        updated_at=instant(task.update_time),
        callback_status=callback_status(task.callback_status),
    )
    if task.HasField("queue_place"):
        shown.queue = queue_place(task.queue_place)
    return shown


def queue_place(place: task_pb2.QueuePlace) -> answers.QueuePlace:
    """Show where a task stands; null for what is not known."""
    estimated = place.HasField("estimated_wait_seconds")
    return answers.QueuePlace(
        position=place.position or None,
        estimated_wait_seconds=place.estimated_wait_seconds if estimated else None,
        estimate_basis=place.estimate_basis if estimated else None,
    )


def summary(task: task_pb2.Task) -> answers.TaskSummary:
    """Show a task in a list."""
    return answers.TaskSummary(
        task_id=task.spec.task_id,
        task_name=task.spec.task_name,
        user=task.spec.user,
        workflow_id=task.spec.workflow_id or task.spec.task_id,
        labels=dict(task.spec.labels),
        status=STATUS[task.state],
        state=state_word(task.state),
        message=message(task),
        error=error_detail(task.error) if task.HasField("error") else None,
        progress=progress_of(task),
        priority=task.spec.priority,
        attempt=task.attempt,
        created_at=instant(task.create_time),
        updated_at=instant(task.update_time),
        started_at=_optional_instant(task, "run_time"),
        ended_at=_optional_instant(task, "end_time"),
        duration=round(task.duration_seconds, 3),
        callback_status=callback_status(task.callback_status),
    )


def record(task: task_pb2.Task, url: FileUrl) -> answers.TaskRecord:
    """Show everything about a task."""
    spec = task.spec
    shown = status(task, url)
    shared = {**dict(summary(task)), **{name: getattr(shown, name) for name in shown.model_fields_set}}
    return answers.TaskRecord(
        **shared,
        input_data=plain(spec.input),
        callback=spec.callback_url or None,
        depends_on=list(spec.depends_on),
        start_time=_optional_instant(spec, "start_time"),
        start_deadline=_optional_instant(spec, "start_deadline"),
        timeout_seconds=spec.timeout_seconds,
        worker_lost_count=task.worker_lost_count,
        expires_at=_optional_instant(task, "expire_time"),
        last_sequence=task.last_sequence,
    )


def deleted_resource(one: task_pb2.DeletedResource) -> answers.DeletedResource:
    """Show how one resource fared."""
    return answers.DeletedResource(
        resource=one.resource,
        status=one.status,
        message=one.message,
        retriable=one.retriable,
        details=plain(one.details),
    )


def delete_report(report: task_pb2.DeleteTaskResponse) -> answers.DeleteReport:
    """Show what a delete did."""
    return answers.DeleteReport(
        status=report.status,
        results=[deleted_resource(one) for one in report.results],
        warnings=list(report.warnings),
        timestamp=instant(report.delete_time),
    )


def deliveries(found: task_pb2.ListDeliveriesResponse) -> dict[str, Any]:
    """Show the log of a callback, whoever's it is."""
    return {
        "callback_status": callback_status(found.status),
        "next_attempt_at": instant(found.next_time) if found.HasField("next_time") else None,
        "deliveries": [delivery(one) for one in found.deliveries],
    }


def delivery(one: task_pb2.Delivery) -> DeliveryInfo:
    """Show one attempt to deliver a callback."""
    return DeliveryInfo(
        attempt=one.attempt,
        time=instant(one.time),
        http_status=one.http_status or None,
        error=one.error or None,
        duration_seconds=round(one.duration_seconds, 3),
        webhook_id=one.webhook_id,
    )
