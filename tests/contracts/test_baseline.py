"""No client breaks: the contracts hold everything that the committed baseline promises."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from tests.contracts.baseline import BASELINE, breaks, described, read
from tests.contracts.descriptors import compiled


def test_nothing_of_the_baseline_is_gone_or_changed() -> None:
    """Names, numbers, types and RPC signatures stay; additions are free."""
    assert list(breaks(read(), described(compiled().file))) == []


def test_the_baseline_is_the_contracts_own_words() -> None:
    """It names nothing of the machine that wrote it."""
    text = BASELINE.read_text(encoding="utf-8")
    assert "/" not in text
    assert "\\" not in text
    assert all(
        name.startswith(("yivideo.", "externalscaler.")) for things in read().values() for name in things
    )


def _task_file() -> FileDescriptorProto:
    (file,) = [copy.deepcopy(file) for file in compiled().file if file.name.endswith("task/v1/task.proto")]
    return file


def _remove_field(file: FileDescriptorProto) -> str:
    del file.message_type[0].field[1]
    return "is gone"


def _renumber_field(file: FileDescriptorProto) -> str:
    file.message_type[0].field[0].number = 99
    return "'99 string'"


def _retype_field(file: FileDescriptorProto) -> str:
    file.message_type[0].field[0].type = FieldDescriptorProto.TYPE_BYTES
    return "'1 bytes'"


def _repeat_field(file: FileDescriptorProto) -> str:
    file.message_type[0].field[0].label = FieldDescriptorProto.LABEL_REPEATED
    return "'1 repeated string'"


def _rename_field(file: FileDescriptorProto) -> str:
    file.message_type[0].field[0].name = "identifier"
    return "task_id is gone"


def _change_map(file: FileDescriptorProto) -> str:
    (entry,) = [inner for inner in file.message_type[0].nested_type if inner.options.map_entry]
    entry.field[1].type = FieldDescriptorProto.TYPE_BYTES
    return "map<string, bytes>"


def _leave_oneof(file: FileDescriptorProto) -> str:
    (event,) = [message for message in file.message_type if message.name == "TaskEvent"]
    next(field for field in event.field if field.HasField("oneof_index")).ClearField("oneof_index")
    return "was '5 oneof event"


def _remove_message(file: FileDescriptorProto) -> str:
    del file.message_type[0]
    return "TaskSpec is gone"


def _remove_rpc(file: FileDescriptorProto) -> str:
    del file.service[0].method[0]
    return "RunTask is gone"


def _unstream_rpc(file: FileDescriptorProto) -> str:
    file.service[0].method[0].server_streaming = False
    return "-> stream yivideo.task.v1.TaskEvent' and is"


def _renumber_value(file: FileDescriptorProto) -> str:
    file.enum_type[0].value[1].number = 50
    return "was 1 and is 50"


def _remove_enum(file: FileDescriptorProto) -> str:
    del file.enum_type[0]
    return "TaskState is gone"


@pytest.mark.parametrize(
    "change",
    [
        _remove_field, _renumber_field, _retype_field, _repeat_field, _rename_field, _change_map, _leave_oneof,
        _remove_message, _remove_rpc, _unstream_rpc, _renumber_value, _remove_enum,
    ],
)  # fmt: skip
def test_every_kind_of_break_is_found(change: Callable[[FileDescriptorProto], str]) -> None:
    """Each way to break a client is told, and only that one thing."""
    changed = _task_file()
    said = change(changed)
    found = list(breaks(described([_task_file()]), described([changed])))
    assert len(found) == 1
    assert said in found[0]


def test_additions_are_free() -> None:
    """A new field, message, value or RPC breaks nobody."""
    changed = _task_file()
    changed.message_type[0].field.add(name="new", number=99, type=FieldDescriptorProto.TYPE_STRING)
    changed.message_type.add(name="NewMessage")
    changed.enum_type[0].value.add(name="TASK_STATE_NEW", number=99)
    changed.service[0].method.add(name="NewCall", input_type=".a.B", output_type=".a.C")
    assert list(breaks(described([_task_file()]), described([changed]))) == []
