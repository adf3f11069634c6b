"""A workflow as everybody outside reads it: the first YiVideo's WorkflowContext, in REST answers and in callbacks.

The values are plain JSON values, names in order, as in `results.node_result`.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from results.node_result import FileUrl, error_detail, error_text, plain, stored_files
from results.states import RESULT_STATUS, STATUS, State, state_word
from results.workflow_outputs import workflow_outputs
from yivideo.task.v1 import task_pb2, workflow_pb2

SHARE_ROOT = "/share/workflows"

_STAGE_STATUS = {
    State.TASK_STATE_PENDING: "PENDING",
    State.TASK_STATE_BLOCKED: "PENDING",
    State.TASK_STATE_RUNNING: "IN_PROGRESS",
    State.TASK_STATE_CANCELLING: "IN_PROGRESS",
    **RESULT_STATUS,
}


def member_id(workflow_id: str, task: workflow_pb2.WorkflowTask) -> str:
    """Return the id of a workflow's task, which follows from its key where none was asked for."""
    return task.spec.task_id or f"{workflow_id}-{task.key}"


def workflow_context(workflow: workflow_pb2.Workflow, url: FileUrl) -> dict[str, Any]:
    """Return `{workflow_id, create_at, input_params, shared_storage_path, stages, outputs, error, …}`.

    `outputs` has what comes out, by the names of the workflow's `result`. `stages` is by task name, of several tasks of one the
    last; `tasks` has all of them, in order. Instants are RFC 3339, UTC.
    """
    spec = workflow.spec
    keys = {member_id(spec.workflow_id, task): task.key for task in spec.tasks}
    by_key = {keys[task.spec.task_id]: task for task in workflow.tasks if task.spec.task_id in keys}
    failed = [task for task in workflow.tasks if task.state == State.TASK_STATE_FAILED]
    return {
        "workflow_id": spec.workflow_id,
        "status": STATUS[workflow.state],
        "state": state_word(workflow.state),
        "create_at": instant_text(workflow.create_time),
        "updated_at": instant_text(workflow.update_time),
        "ended_at": instant_text(workflow.end_time) if workflow.HasField("end_time") else None,
        "expires_at": instant_text(workflow.expire_time) if workflow.HasField("expire_time") else None,
        "input_params": _input_params(workflow),
        "shared_storage_path": f"{SHARE_ROOT}/{spec.workflow_id}",
        "stages": {task.spec.task_name: _stage(task) for task in workflow.tasks},
        "tasks": [_task(task, keys.get(task.spec.task_id, ""), url) for task in workflow.tasks],
        "outputs": workflow_outputs(spec.result, by_key, list(workflow.tasks), url),
        "error": _root(failed) if workflow.state == State.TASK_STATE_FAILED else _why_cancelled(workflow),
        "template": spec.template or None,
        "labels": dict(sorted(spec.labels.items())),
        "callback_status": _callback_status(workflow.callback_status),
        "last_sequence": workflow.last_sequence,
    }


def workflow_callback(workflow: workflow_pb2.Workflow, url: FileUrl) -> dict[str, Any]:
    """Return the body of a workflow's callback: `{workflow_id, status, result, minio_files, timestamp}`.

    `result` is the context without what only its delivery changes; the time is the workflow's end.
    """
    context = workflow_context(workflow, url)
    for moving in ("callback_status", "updated_at", "expires_at", "last_sequence"):
        del context[moving]
    return {
        "workflow_id": workflow.spec.workflow_id,
        "status": context["status"],
        "result": context,
        "minio_files": [file for task in workflow.tasks for file in stored_files(task.files, url)],
        "timestamp": instant_text(workflow.end_time),
    }


def instant_text(stamp: Timestamp) -> str:
    """Return an instant as RFC 3339 in UTC with milliseconds."""
    return stamp.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _input_params(workflow: workflow_pb2.Workflow) -> dict[str, Any]:
    tasks = [task.spec for task in workflow.spec.tasks] or [task.spec for task in workflow.tasks]
    params: dict[str, Any] = {
        "task_name": tasks[0].task_name if len(tasks) == 1 else None,
        "input_data": plain(tasks[0].input) if len(tasks) == 1 else {},
        "callback_url": workflow.spec.callback_url
        or (tasks[0].callback_url if len(tasks) == 1 else "")
        or None,
    }
    return params | {"workflow_chain": [spec.task_name for spec in tasks]}


def _stage(task: task_pb2.Task) -> dict[str, Any]:
    used = task.resolved_input if task.HasField("resolved_input") else task.spec.input
    return {
        "status": _STAGE_STATUS[task.state],
        "input_params": plain(used),
        "output": plain(task.output) if task.HasField("output") else {},
        "error": error_text(task),
        "duration": round(task.duration_seconds, 3),
    }


def _task(task: task_pb2.Task, key: str, url: FileUrl) -> dict[str, Any]:
    shown = {
        "task_id": task.spec.task_id,
        "key": key or None,
        "task_name": task.spec.task_name,
        "state": state_word(task.state),
        "waiting_reason": task.waiting_reason or None,
        "percent": _percent(task),
        "attempt": task.attempt,
        "depends_on": _waits_for(task),
        "minio_files": stored_files(task.files, url),
        **_stage(task),
    }
    if task.state == State.TASK_STATE_FAILED:
        shown["error_detail"] = error_detail(task.error)
    return shown


def _percent(task: task_pb2.Task) -> float | None:
    """How far the current attempt is; all of it once the task has completed, whatever it said last."""
    if task.state == State.TASK_STATE_COMPLETED:
        return 100.0
    return round(task.progress.percent, 2) if task.HasField("progress") else None


def _waits_for(task: task_pb2.Task) -> list[str]:
    """The tasks that it names, as it does, then those that its input takes values from."""
    named = list(task.spec.depends_on)
    return named + sorted(set(task.waits_for) - set(named))


def _root(failed: list[task_pb2.Task]) -> str | None:
    """The failure that others followed from: of those that have a cause of their own the first."""
    own = [task for task in failed if task.error.code != "DEPENDENCY_FAILED"] or failed
    if not own:
        return None
    first = min(own, key=lambda task: task.end_time.ToNanoseconds())
    return f"{first.spec.task_name}: {error_text(first)}"


def _why_cancelled(workflow: workflow_pb2.Workflow) -> str | None:
    if workflow.state != State.TASK_STATE_CANCELLED:
        return None
    return workflow.cancel_reason or "cancelled"


def _callback_status(status: task_pb2.CallbackStatus.ValueType) -> str | None:
    if status == task_pb2.CALLBACK_STATUS_UNSPECIFIED:
        return None
    return task_pb2.CallbackStatus.Name(status).removeprefix("CALLBACK_STATUS_").lower()
