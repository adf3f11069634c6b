"""What the scheduler looks for before it stores a task: the files that its input names, as its user's download would find them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from runtime.errors import InvalidInput
from runtime.structs import to_struct
from scheduler.api.input_files import InputFiles, media_references
from tests.gateway.conftest import RUNTIME
from tests.isolation.conftest import SECRET, SHARED, House
from yivideo.task.v1 import task_pb2

pytestmark = pytest.mark.trial("10.13")

MEDIA = {"type": "string", "format": "media-ref"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "film": {"$ref": "#/$defs/Film"},
        "sound": {"anyOf": [MEDIA, {"type": "null"}]},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"clip": MEDIA}}},
        "title": {"type": "string"},
        "self": {"$ref": "#"},
    },
    "$defs": {"Film": MEDIA},
}


@pytest.fixture
async def input_files(house: House) -> AsyncIterator[InputFiles]:
    made = InputFiles(house.files_address, RUNTIME)
    yield made
    await made.aclose()


async def missing(looking: InputFiles, value: dict[str, Any], user: str = "bob", **spec: Any) -> list[str]:
    """Return the pointers of what is missing for a user."""
    asked = task_pb2.TaskSpec(input=to_struct(value), user=user, **spec)
    wanted = looking.wanted(asked, orjson.dumps(SCHEMA).decode())
    try:
        if wanted:
            await looking.check(asked, wanted)
    except InvalidInput as refused:
        return [field.pointer for field in refused.fields]
    return []


def test_media_is_found_wherever_a_schema_has_it() -> None:
    """Behind references, choices, in lists and in a schema that refers to itself; other texts are left alone."""
    value = {"film": "a", "sound": "b", "parts": [{"clip": "c"}, {}], "title": "d", "self": {"film": "e"}}
    found = {text for _, text in media_references(SCHEMA, SCHEMA, value)}
    assert found == {"a", "b", "c", "e"}
    endless: dict[str, Any] = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}
    assert list(media_references(endless, endless, "x")) == []


@pytest.mark.parametrize("ref", [SECRET, f"s3://yivideo/{SECRET}", "archive-1/", "s3://yivideo/archive-1/"])
async def test_another_users_file_is_not_there(input_files: InputFiles, ref: str) -> None:
    """The field is named, and the answer is the one for a file that does not exist; its owner and `files:all` get through."""
    assert await missing(input_files, {"film": ref}) == ["/input/film"]
    assert await missing(input_files, {"parts": [{"clip": SHARED}, {"clip": ref}]}) == ["/input/parts/1/clip"]
    assert await missing(input_files, {"film": ref}, "alice") == []
    assert await missing(input_files, {"film": ref}, "root", all_files=True) == []


async def test_nothing_is_looked_for_that_may_still_come_or_is_elsewhere(input_files: InputFiles) -> None:
    """References, URLs, shared paths; tasks that wait for others or for a time; while no filestore answers."""
    for ref in ("${{ stages.a.b.output.c }}", "https://example.org/a.mp4", "data:,x", "/share/a.mp4"):
        assert await missing(input_files, {"film": ref}) == []
    assert await missing(input_files, {"film": "later.mp4"}) == ["/input/film"]
    assert await missing(input_files, {"film": "later.mp4"}, depends_on=["t0"]) == []
    assert await missing(input_files, {"film": "later.mp4"}, delay_seconds=1) == []
    unreachable = InputFiles("127.0.0.1:1", RUNTIME.model_copy(update={"call_timeout_seconds": 0.2}))
    assert await missing(unreachable, {"film": "later.mp4"}) == []
    await unreachable.aclose()
