"""What REST shows of an ended task and what its callback says are the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from gateway.v1 import presenter
from gateway.v1.links import file_url
from results.states import RESULT_STATUS, TERMINAL_STATES
from runtime.structs import to_struct
from scheduler.callbacks.body import to_body
from scheduler.queue.presenter import StoredTask, to_task
from scheduler.queue.record import to_record
from yivideo.task.v1 import task_pb2

BASE = "http://gateway.example:8788"

SPEC = task_pb2.TaskSpec(
    task_id="t1",
    task_name="media.extract",
    input=to_struct({"video_path": "a.mp4", "api_key": "k", "nested": {"z": 1, "a": [1.5, None]}}),
    callback_url="https://example.com/hook",
)
COMPLETED = task_pb2.TaskCompleted(
    output=to_struct({"audio_path": "x/a.wav"}),
    files=[
        task_pb2.OutputFile(name="tö.wav", bucket="yi&video", path="x/tö ne.wav", type="audio", size_bytes=3, sha256="ab"),
        task_pb2.OutputFile(name="b", path="x/b", size_bytes=0),
    ],
)  # fmt: skip
ERROR = task_pb2.TaskError(code="MEDIA_UNREADABLE", message="no", field="/video_path", retryable=False)


def stored(state: str, reason: str = "") -> StoredTask:
    """A task of a state as Redis would hold it after one attempt."""
    fields = {
        "state": state, "name": "media.extract", "attempt": "1", "duration": "0.51234", "end": "1700000000123",
        "updated": "1700000000123", "created": "1700000000000000", "callback": SPEC.callback_url, "cancel_reason": reason,
    }  # fmt: skip
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    if state == "failed":
        raw[b"error"] = ERROR.SerializeToString()
    ended_well = state in ("completed", "skipped")
    result = COMPLETED.SerializeToString() if ended_well else b""
    return StoredTask(to_record("t1", raw), SPEC.SerializeToString(), result)


def both(task: StoredTask) -> tuple[dict[str, Any], dict[str, Any]]:
    rest = orjson.loads(presenter.status(to_task(task), file_url(BASE)).to_json())
    return rest, orjson.loads(to_body(task, public_url=BASE + "/"))


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_callback_says_what_a_status_request_shows(state: str) -> None:
    """For every terminal state: the same result, files, status and id, and the end's own time."""
    rest, callback = both(stored(state, reason="no longer wanted"))
    for name in ("task_id", "status", "result", "minio_files"):
        assert callback[name] == rest[name], name
    assert datetime.fromisoformat(callback["timestamp"]) == datetime.fromisoformat(rest["updated_at"])
    assert callback["result"]["input_params"]["api_key"] == "***"


def test_a_cancelled_task_says_why() -> None:
    """The reason that was given stands in both; without one both say that it was cancelled."""
    for reason, said in (("no longer wanted", "no longer wanted"), ("", "cancelled")):
        rest, callback = both(stored("cancelled", reason))
        assert rest["result"]["error"] == callback["result"]["error"] == said


def test_a_result_exists_exactly_when_the_task_has_ended() -> None:
    """Every state of the contract either is terminal and has a result word, or shows no result."""
    ended = {task_pb2.TaskState.Name(state).removeprefix("TASK_STATE_").lower() for state in RESULT_STATUS}
    assert ended == set(TERMINAL_STATES)
    assert presenter.result(to_task(stored("running"))) is None
