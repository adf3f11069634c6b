"""What the front door refuses: with a stable code, a named field where there is one, and nothing written."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.stories.conftest import RunningStack

VIDEO = "refusals/film.mp4"


@pytest.fixture
async def http(stack: RunningStack) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP session with the shared stack."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(stack.url, timeout=timeout) as session:
        yield session


async def everything(http: aiohttp.ClientSession) -> tuple[set[str], set[str]]:
    """Return the ids of all tasks and the paths of all files."""
    async with http.get("/v1/tasks", params={"page_size": "500"}) as response:
        tasks = await response.json()
    async with http.get("/v1/files/list") as response:
        files = await response.json()
    return {task["task_id"] for task in tasks["tasks"]}, {file["file_path"] for file in files["files"]}


def audio(**input_data: Any) -> dict[str, Any]:
    """Return an extract_audio task with this input."""
    return {"task_name": "ffmpeg.extract_audio", "input_data": input_data}


SUBMISSIONS = {
    "unknown task": ({"task_name": "ffmpeg.make_coffee", "input_data": {}}, 400, "UNKNOWN_TASK_TYPE", None),
    "ill-formed task name": ({"task_name": "coffee", "input_data": {}}, 400, "INVALID_ARGUMENT", "/task_name"),
    "empty task name": ({"task_name": "", "input_data": {}}, 400, "INVALID_ARGUMENT", "/task_name"),
    "missing field": (audio(), 422, "INVALID_INPUT", "/input_data/video_path"),
    "wrong type": (audio(video_path=VIDEO, sample_rate="fast"), 422, "INVALID_INPUT", "/input_data/sample_rate"),
    "out of range": (audio(video_path=VIDEO, sample_rate=1), 422, "INVALID_INPUT", "/input_data/sample_rate"),
    "unknown field": (audio(video_path=VIDEO, colour="red"), 422, "INVALID_INPUT", "/input_data/colour"),
    "unknown top field": (audio(video_path=VIDEO) | {"shiny": 1}, 400, "INVALID_ARGUMENT", "/shiny"),
    "no input": ({"task_name": "ffmpeg.extract_audio"}, 400, "INVALID_ARGUMENT", "/input_data"),
    "bad task id": (audio(video_path=VIDEO) | {"task_id": "../x"}, 400, "INVALID_ARGUMENT", "/task_id"),
    "private callback": (audio(video_path=VIDEO) | {"callback": "http://10.0.0.1/x"}, 400, "ADDRESS_REFUSED", None),
    "file callback": (audio(video_path=VIDEO) | {"callback": "file:///etc/passwd"}, 400, "INVALID_ARGUMENT", "/callback"),
    "unknown dependency": (audio(video_path=VIDEO) | {"depends_on": ["nobody"]}, 400, "INVALID_ARGUMENT", "/depends_on/0"),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBMISSIONS)
async def test_a_bad_submission_is_refused_before_anything_is_written(
    http: aiohttp.ClientSession, name: str
) -> None:
    """The answer has the right status and code, names the field, and no task exists afterwards."""
    body, status, code, pointer = SUBMISSIONS[name]
    before = await everything(http)
    async with http.post("/v1/tasks", json=body) as response:
        answer = await response.json()
        assert (response.status, answer["code"]) == (status, code), answer
        assert response.content_type == "application/problem+json"
    assert answer["error"]["code"] and answer["error"]["message"] and answer["error"]["timestamp"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in answer["errors"]]
    assert await everything(http) == before


MEDIA = {
    "traversal": "../../etc/passwd",
    "absolute path": "/etc/passwd",
    "file url": "file:///etc/passwd",
    "loopback url": "http://127.0.0.1:22/film.mp4",
    "private url": "http://10.1.2.3/film.mp4",
    "metadata url": "http://169.254.169.254/latest/meta-data",
    "ftp url": "ftp://example.com/film.mp4",
    "missing object": "refusals/nothing.mp4",
}


@pytest.mark.parametrize("name", MEDIA)
async def test_media_that_may_not_be_read_fails_the_task_and_leaves_no_file(
    http: aiohttp.ClientSession, name: str
) -> None:
    """A task that names such media never completes: it is refused at once or fails with a clear code, and stores nothing."""
    _, files = await everything(http)
    async with http.post(
        "/v1/tasks", json=audio(video_path=MEDIA[name]), headers={"Prefer": "wait=20"}
    ) as response:
        answer = await response.json()
        status = response.status
    if status < 400:
        assert answer["status"] == "failed", answer
        assert answer["result"]["error"]
    else:
        assert status in (400, 404, 422), answer
    assert (await everything(http))[1] == files


async def test_unknown_ids_are_404_everywhere(http: aiohttp.ClientSession) -> None:
    """Every route that takes a task id answers TASK_NOT_FOUND for one that does not exist."""
    calls = [("GET", ""), ("GET", "/status"), ("GET", "/result"), ("GET", "/events"), ("GET", "/deliveries"),
             ("POST", "/retry"), ("POST", "/redeliver"), ("POST", "/delete"), ("DELETE", "")]  # fmt: skip
    for method, suffix in calls:
        async with http.request(method, f"/v1/tasks/nobody{suffix}") as response:
            answer = await response.json()
            assert (response.status, answer["code"]) == (404, "TASK_NOT_FOUND"), (method, suffix, answer)


async def test_one_id_has_one_payload_and_is_cancelled_once(http: aiohttp.ClientSession) -> None:
    """The same id with another payload is 409; cancelling an ended or cancelled task is refused."""
    first = audio(video_path=VIDEO) | {"task_id": "one-payload", "delay_seconds": 3600}
    async with http.post("/v1/tasks", json=first) as response:
        assert response.status == 202, await response.text()
    async with http.post("/v1/tasks", json=first) as response:
        answer = await response.json()
        assert response.status == 200 and answer["reuse_info"]["reuse_hit"] is True
    async with http.post("/v1/tasks", json=first | {"priority": 5}) as response:
        assert (response.status, (await response.json())["code"]) == (409, "TASK_CONFLICT")
    async with http.delete("/v1/tasks/one-payload") as response:
        assert response.status == 200
    for _ in range(2):
        async with http.delete("/v1/tasks/one-payload") as response:
            assert (response.status, (await response.json())["code"]) == (400, "WRONG_STATE")
    async with http.post("/v1/tasks/one-payload/delete", json={}) as response:
        assert (await response.json())["status"] == "success"


FILE_PATHS = ["../x", "a/../../x", "/etc/x", "a//b", "a/./b", "", "a\\..\\b\x00", "x" * 2000]


@pytest.mark.parametrize("path", FILE_PATHS)
async def test_a_bad_file_path_is_refused(http: aiohttp.ClientSession, path: str) -> None:
    """Uploads to such paths answer 400 and store nothing."""
    before = await everything(http)
    form = aiohttp.FormData({"file_path": path})
    form.add_field("file", b"bytes", filename="x.txt")
    async with http.post("/v1/files/upload", data=form) as response:
        answer = await response.json()
        assert response.status in (400, 413), answer
        assert answer["code"] in ("PATH_REFUSED", "INVALID_ARGUMENT"), answer
    assert await everything(http) == before


async def test_an_empty_upload_is_refused(http: aiohttp.ClientSession) -> None:
    """A file of no bytes answers 400 and does not exist afterwards."""
    form = aiohttp.FormData({"file_path": "refusals/empty.txt"})
    form.add_field("file", b"", filename="empty.txt")
    async with http.post("/v1/files/upload", data=form) as response:
        assert response.status == 400, await response.text()
    async with http.get("/v1/files/exists/refusals/empty.txt") as response:
        assert (await response.json())["exists"] is False


async def test_a_body_that_is_not_json_or_too_large_is_refused(http: aiohttp.ClientSession) -> None:
    """Broken JSON is 400, a JSON body past the limit 413."""
    headers = {"Content-Type": "application/json"}
    async with http.post("/v1/tasks", data=b'{"task_name": ', headers=headers) as response:
        assert response.status == 400
    async with http.post("/v1/tasks", data=io.BytesIO(b'"' + b"x" * (2 << 20)), headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (413, "PAYLOAD_TOO_LARGE")
