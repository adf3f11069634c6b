"""What identifies a payload: a repeated submit is the same task only when everything in it is the same."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor

from runtime.structs import to_struct
from scheduler.queue.payload import fingerprint
from yivideo.task.v1 import task_pb2

NOT_PAYLOAD = {"task_id", "traceparent", "tracestate", "when_unavailable", "all_files"}
"""The contract's own words: everything but these identifies the task."""

OTHER_VALUE = {
    FieldDescriptor.TYPE_STRING: "other",
    FieldDescriptor.TYPE_INT32: 7,
    FieldDescriptor.TYPE_DOUBLE: 7.5,
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_ENUM: 1,
}


def with_one_field(field: FieldDescriptor, message: task_pb2.TaskSpec | task_pb2.RetryPolicy) -> None:
    """Set one field to something that it is not by default."""
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value["key"] = "value"
    elif field.message_type is not None and field.message_type.full_name.endswith(".Struct"):
        value.CopyFrom(to_struct({"a": 1}))
    elif field.message_type is not None and field.message_type.full_name.endswith(".Timestamp"):
        value.FromSeconds(1_700_000_000)
    elif field.is_repeated:
        value.append("other")
    else:
        setattr(message, field.name, OTHER_VALUE[field.type])


SPEC_FIELDS = [field for field in task_pb2.TaskSpec.DESCRIPTOR.fields if field.name != "retry_policy"]


@pytest.mark.parametrize("field", SPEC_FIELDS, ids=lambda field: field.name)
def test_every_field_of_a_task_changes_its_fingerprint(field: FieldDescriptor) -> None:
    """A field that is added to TaskSpec and forgotten here would make two different tasks one."""
    spec = task_pb2.TaskSpec()
    with_one_field(field, spec)
    assert (fingerprint(spec) == fingerprint(task_pb2.TaskSpec())) == (field.name in NOT_PAYLOAD)


@pytest.mark.parametrize("field", task_pb2.RetryPolicy.DESCRIPTOR.fields, ids=lambda field: field.name)
def test_every_field_of_its_retry_policy_does_too(field: FieldDescriptor) -> None:
    """The policy is part of what was asked for."""
    spec = task_pb2.TaskSpec()
    with_one_field(field, spec.retry_policy)
    assert fingerprint(spec) != fingerprint(task_pb2.TaskSpec())


def test_the_default_callback_format_is_the_same_as_none() -> None:
    """`yivideo` written out is what an empty field means: a client that begins to name it repeats its old requests."""
    assert fingerprint(task_pb2.TaskSpec(callback_format="yivideo")) == fingerprint(task_pb2.TaskSpec())
