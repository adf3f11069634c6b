"""The body of a callback: exact bytes, whichever process makes them."""

from __future__ import annotations

import itertools

from runtime.structs import to_struct
from scheduler.callbacks.body import to_body
from scheduler.queue.presenter import StoredTask
from scheduler.queue.record import to_record
from yivideo.task.v1 import task_pb2


def test_every_delivery_of_a_callback_has_the_same_bytes() -> None:
    """A repetition, which another scheduler may make, is the same request: protobuf gives a map's keys in any order."""
    fields = {"state": "completed", "name": "media.extract", "end": "1700000000000"}
    record = to_record("t1", {key.encode(): value.encode() for key, value in fields.items()})
    value = {
        name: {"deep": 1, "er": [name]} for name in ("video_path", "rate", "sources", "language", "model")
    }
    bodies = set()
    for order in itertools.permutations(value):
        given = to_struct({name: value[name] for name in order})
        spec = task_pb2.TaskSpec(task_id="t1", task_name="media.extract", input=given)
        result = task_pb2.TaskCompleted(output=given)
        stored = StoredTask(record, spec.SerializeToString(), result.SerializeToString())
        bodies.add(to_body(stored, public_url=""))
    assert len(bodies) == 1
