"""/v1/files: what is said about files: list, exists, url, delete, health; odd paths."""

from __future__ import annotations

import aiohttp
import pytest
from yarl import URL

from gateway.v1.answers import files as answers
from runtime import errors
from tests.gateway.conftest import Harness

WAV = bytes(range(256)) * 40


async def test_a_missing_file_is_404_everywhere(harness: Harness) -> None:
    """Download, url, delete: FILE_NOT_FOUND; exists: false."""
    for method, path in (("GET", "download/no"), ("GET", "url/no"), ("DELETE", "no")):
        async with harness.http.request(method, f"/v1/files/{path}") as response:
            assert (response.status, (await response.json())["code"]) == (404, "FILE_NOT_FOUND")
    async with harness.http.get("/v1/files/exists/no") as response:
        assert (await response.json()) == {"file_path": "no", "bucket": "yivideo", "exists": False}


@pytest.mark.parametrize("path", ["a%ff", "%00", "a%ed%a0%80", "a" * 1100, "..%2f..%2fetc"])
async def test_odd_paths_are_refused_not_crashed_on(harness: Harness, path: str) -> None:
    """Bytes that are not UTF-8, NUL, surrogates, overlong and climbing paths: an answer below 500."""
    for method, url in (
        ("GET", f"download/{path}"),
        ("PUT", path),
        ("DELETE", path),
        ("GET", f"list/{path}"),
    ):
        target = URL(f"http://{harness.address}/v1/files/{url}", encoded=True)
        async with aiohttp.ClientSession() as session, session.request(method, target, data=b"x") as response:
            assert response.status < 500, (method, await response.text())


async def test_list_exists_url_delete(harness: Harness) -> None:
    """The origin's shapes for the rest of the surface."""
    for path in ("t1/a.wav", "t1/b/c.wav", "t10/x"):
        harness.filestore.put(path, WAV)
    async with harness.http.get("/v1/files/list/t1/") as response:
        body = await response.json()
    answers.FilePage.model_validate(body)
    assert (body["prefix"], body["bucket"], body["total_count"]) == ("t1/", "yivideo", 2)
    assert set(body["files"][0]) == {"file_path", "size", "last_modified", "etag", "content_type", "sha256"}
    async with harness.http.get("/v1/files/list", params={"recursive": "false", "page_size": 1}) as response:
        body = await response.json()
        assert (body["prefix"], body["prefixes"]) == ("", ["t1/", "t10/"])
    async with harness.http.get("/v1/files/exists/t1/a.wav") as response:
        assert (await response.json())["exists"] is True
    async with harness.http.get("/v1/files/url/t1/a.wav?expires_hours=2") as response:
        body = await response.json()
        assert (body["expires_in_hours"], body["download_url"].startswith("http://")) == (2, True)
        assert body["bucket"] == "yivideo"
    async with harness.http.get("/v1/files/list/nothing/") as response:
        assert (await response.json())["bucket"] == "yivideo"
    for hours in (0, 169, "x"):
        async with harness.http.get(f"/v1/files/url/t1/a.wav?expires_hours={hours}") as response:
            assert response.status == 400
    async with harness.http.delete("/v1/files/t1/a.wav") as response:
        body = await response.json()
        assert (body["success"], body["file_path"], body["file_size"]) == (True, "t1/a.wav", len(WAV))


async def test_a_folder_is_deleted_by_its_shared_path(harness: Harness) -> None:
    """/share/t1 is the prefix t1/: t10 stays; again is a success; 400 for `..` and the root, 403 outside."""
    for path in ("t1/a", "t1/b/c", "t10/x"):
        harness.filestore.put(path, b"abc")
    for count, size in ((2, 6), (0, 0)):
        async with harness.http.delete(
            "/v1/files/directories", params={"directory_path": "/share/t1"}
        ) as response:
            body = await response.json()
            assert (response.status, body["success"], body["deleted_count"], body["file_size"]) == (
                200,
                True,
                count,
                size,
            )
    assert list(harness.filestore.files) == [("yivideo", "t10/x")]
    refused = {"/share/../etc": 400, "/share": 403, "/share/": 400, "/share//": 400, "/shared/x": 403, "/etc": 403,
               "t10": 403, "/share/./": 400, "/share/a\\..\\b": 400}  # fmt: skip
    for path, status in refused.items():
        async with harness.http.delete("/v1/files/directories", params={"directory_path": path}) as response:
            assert response.status == status, path
    async with harness.http.delete("/v1/files/directories") as response:
        assert response.status == 400
    assert list(harness.filestore.files) == [("yivideo", "t10/x")]


async def test_files_health(harness: Harness) -> None:
    """The origin's fields; 503 when the store, or the filestore, does not answer."""
    async with harness.http.get("/v1/files/health") as response:
        body = await response.json()
        assert (response.status, body["status"], body["backend"], body["default_bucket"]) == (
            200,
            "healthy",
            "local",
            "yivideo",
        )
        assert body["minio_host"] == "files"
    harness.filestore.healthy = False
    async with harness.http.get("/v1/files/health") as response:
        assert (response.status, (await response.json())["status"]) == (503, "unhealthy")


async def test_an_error_of_the_store_keeps_its_inside_to_itself(harness: Harness) -> None:
    """A store's failure is 503 or 500 without its text."""
    for error, status in (
        (errors.Unavailable("disk /srv/x"), 503),
        (errors.DataLoss("/srv/x sector 9"), 500),
    ):
        harness.filestore.fail = error
        async with harness.http.get("/v1/files/exists/a") as response:
            assert response.status == status
            assert "/srv" not in await response.text()
