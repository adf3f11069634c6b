"""What nodes get wrong, one fault each, with the law that each breaks."""

from __future__ import annotations

from typing import Any

from tests.nodekit.twisted import Once, Twist, each_event, each_request, other_status
from yivideo.task.v1 import task_pb2


def _set(message: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def _nan(event: task_pb2.TaskEvent) -> None:
    if event.HasField("completed"):
        event.completed.output["score"] = float("nan")


def _stray_file(event: task_pb2.TaskEvent) -> None:
    if event.HasField("completed"):
        event.completed.files.add(path="somebody/film.mp4")


def _from_zero(event: task_pb2.TaskEvent) -> None:
    if event.sequence:
        event.sequence -= 1


def _always_one(event: task_pb2.TaskEvent) -> None:
    if event.sequence:
        event.sequence = 1


def _by_number(request: task_pb2.RunTaskRequest) -> None:
    """As a node that tells attempts apart by their number alone."""
    request.fence = request.attempt


def _good_input(request: task_pb2.RunTaskRequest) -> None:
    request.spec.input.Clear()
    request.spec.input["text"] = "fine"


def _new_time(event: task_pb2.TaskEvent) -> None:
    event.time.GetCurrentTime()


def _as_failed(event: task_pb2.TaskEvent) -> None:
    if event.HasField("cancelled"):
        event.failed.error.code = "CANCELLED"


def _other_code(event: task_pb2.TaskEvent) -> None:
    if event.HasField("failed"):
        event.failed.error.code = "TIMEOUT"


def _no_started(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse | None:
    kept = [told for told in response.events if not told.event.HasField("started")]
    if len(kept) == len(response.events):
        return response
    changed = task_pb2.FollowAttemptsResponse(events=kept, ends=response.ends)
    return changed if kept or response.ends else None


def _two_ends(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse:
    for told in list(response.events):
        if told.event.HasField("completed"):
            again = response.events.add()
            again.CopyFrom(told)
            again.event.sequence += 1
    return response


def _no_beats(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse | None:
    return response if response.events or response.ends else None


def _no_end(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse:
    response.ClearField("ends")
    return response


def _same_numbers(message: task_pb2.FollowAttemptsRequest) -> task_pb2.FollowAttemptsRequest:
    """As a node that takes a watch number a second time."""
    _same_numbers.newest = getattr(_same_numbers, "newest", 1000)  # type: ignore[attr-defined]
    for followed in message.follow:
        _same_numbers.newest += 1  # type: ignore[attr-defined]
        followed.watch = _same_numbers.newest  # type: ignore[attr-defined]
    return message


def _no_fences(status: task_pb2.NodeStatus) -> task_pb2.NodeStatus:
    for here in status.attempts:
        here.fence = 0
    return status


def _no_attempts(status: task_pb2.NodeStatus) -> task_pb2.NodeStatus:
    status.free_slots = status.slots
    return status


def _type(**fields: Any) -> Any:
    def change(answer: task_pb2.ListTaskTypesResponse) -> task_pb2.ListTaskTypesResponse:
        _set(answer.task_types[0], **fields)
        return answer

    return change


FAULTS = [
    Twist("health", "NOT_SERVING", serving=False),
    Twist("condition", "replica", condition=lambda status: _set(status, replica="")),
    Twist("condition", "node is", condition=lambda status: _set(status, node="Toy Node")),
    Twist("condition", "slots are free", condition=lambda status: _set(status, free_slots=99)),
    Twist("condition", "etag", condition=lambda status: _set(status, task_types_etag="")),
    Twist("condition-again", "nothing came", condition=Once()),
    Twist("task-types", "<method>", types=_type(name="media.extract")),
    Twist("task-types", "<method>", types=_type(node="media")),
    Twist("task-types", "leads out", types=_type(input_schema='{"$ref": "http://127.0.0.1:1/x"}')),
    Twist("task-types", "no task type", types=lambda _: task_pb2.ListTaskTypesResponse()),
    Twist("token", "gave OK", token="secret"),
    Twist("heartbeat", "empty", told=_no_beats),
    Twist("life", "numbered", told=each_event(_from_zero)),
    Twist("life", "numbered", told=each_event(_always_one)),
    Twist("life", "says task", told=each_event(lambda event: _set(event, task_id="other"))),
    Twist("life", "numbered [2", told=_no_started),
    Twist("life", "completed', 'completed", told=_two_ends),
    Twist("life", "end the watch", told=_no_end),
    Twist("result", "finite", told=each_event(_nan)),
    Twist("result", "somebody/film.mp4", told=each_event(_stray_file)),
    Twist("attach", "NOT_FOUND", asked=each_request(lambda request: _set(request, fence=request.fence + request.attach_only))),
    Twist("attach", "second look", told=each_event(_new_time)),
    Twist("attach", "after_sequence", asked=each_request(lambda request: _set(request, after_sequence=0))),
    Twist("attach-only", "not NOT_FOUND", asked=each_request(lambda request: _set(request, attach_only=False))),
    Twist("fence", "deleted and submitted again", asked=each_request(_by_number)),
    Twist("fence", "old attempt's request", told=other_status("ABORTED", "UNKNOWN")),
    Twist("unknown-task", "NOT_FOUND, not INVALID_ARGUMENT", told=other_status("INVALID_ARGUMENT", "NOT_FOUND")),
    Twist("unknown-task", "the stream ended", ends_stream=True),
    Twist("bad-input", "not INVALID_ARGUMENT", asked=each_request(_good_input)),
    Twist("late-start", "not ABORTED", asked=each_request(lambda request: request.ClearField("latest_start_time"))),
    Twist("watch-numbers", "end the stream", asked=_same_numbers),
    Twist("slots", "does not list", condition=_no_fences),
    Twist("slots", "free_slots", condition=_no_attempts),
    Twist("full", "ended with INTERNAL", told=other_status("RESOURCE_EXHAUSTED", "INTERNAL")),
    Twist("cancel", "ended as failed", told=each_event(_as_failed)),
    Twist("cancel-other", "another fence", cancel=lambda request: _set(request, fence=0)),
    Twist("newer", "CANCELLED", told=other_status("ABORTED", "CANCELLED")),
    Twist("broken-stream", "was ended", kills=True),
    Twist("timeout", "end the watch", asked=each_request(lambda request: request.spec.ClearField("timeout_seconds"))),
    Twist("timeout", "TIMEOUT", told=each_event(_other_code)),
    Twist("orphan", "still runs", stays=True),
    Twist("orphan", "before the grace time", kills=True),
]  # fmt: skip
"""At least one for each law."""
