"""Laws of media in: every form of reference, every bound, every way out that must stay shut. Over real gRPC and real http."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nodekit.failure import TaskFailed
from nodekit.media.files import Sink
from nodekit.media.web_source import WebSource
from nodekit.testkit import NodeUnderTest
from runtime.egress import Egress, EgressPolicy
from tests.nodekit.conftest import NodeFactory
from tests.nodekit.web_server import Shelf, serving


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with serving(Shelf(body=os.urandom(300_000))) as served:
        yield served


async def fetched(node: NodeUnderTest, source: str, directory: bool = False) -> dict[str, Any]:
    result = await node.run("toy.fetch", {"source": source, "directory": directory})
    assert result.outcome == "completed", result.error
    return result.output


async def refused(node: NodeUnderTest, source: str, directory: bool = False) -> str:
    result = await node.run("toy.fetch", {"source": source, "directory": directory})
    assert (result.outcome, result.error.field) == ("failed", "/source"), (
        "an error names the field of the reference"
    )
    return result.error.code


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_shared_path(start_node: NodeFactory, tmp_path: Path) -> None:
    """A file under an allowed root is read where it lies."""
    node = await start_node()
    (tmp_path / "a clip.mp4").write_bytes(b"clip")
    assert await fetched(node, str(tmp_path / "a clip.mp4")) == {
        "name": "a clip.mp4",
        "sha256": digest(b"clip"),
        "files": [],
    }


@pytest.mark.trial("10.19")
async def test_a_path_longer_than_any_is_refused(start_node: NodeFactory, tmp_path: Path) -> None:
    """A shared path of 5,000 characters, or with a name of 256, is the client's fault."""
    node = await start_node()
    for path in ("/" + "x/" * 2500, str(tmp_path / ("x" * 256)), "/" + "x" * 5000):
        for directory in (False, True):
            assert await refused(node, path, directory) == "PATH_REFUSED"


async def test_paths_out_of_the_roots_are_refused(
    start_node: NodeFactory, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Traversal, links out of the root, other absolute paths, file: URLs and devices are refused; a missing file is not found."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.mp4").write_bytes(b"secret")
    node = await start_node()
    (tmp_path / "link.mp4").symlink_to(outside / "secret.mp4")
    (tmp_path / "dir").symlink_to(outside)
    for source in (
        "/etc/passwd",
        str(outside / "secret.mp4"),
        f"{tmp_path}/../{outside.name}/secret.mp4",
        str(tmp_path / "link.mp4"),
        str(tmp_path / "dir" / "secret.mp4"),
        f"file://{tmp_path}/x.mp4",
        "FILE:/etc/passwd",
        "ftp://example.org/x.mp4",
        "task-1/../../etc/passwd",
        "../x.mp4",
        "a//b.mp4",
        "./x.mp4",
        "a\\b.mp4",
        "a\nb.mp4",
        "s3:///x",
    ):
        assert await refused(node, source) in ("PATH_REFUSED", "FILE_NOT_FOUND"), source
        if source != "s3:///x":
            assert await refused(node, source) == "PATH_REFUSED", source
    assert await refused(node, str(tmp_path / "missing.mp4")) == "FILE_NOT_FOUND"
    assert await refused(node, str(tmp_path)) == "FILE_NOT_FOUND"
    assert await refused(node, str(tmp_path / "dir"), directory=True) == "PATH_REFUSED"


async def test_object_path_of_an_earlier_task(start_node: NodeFactory, tmp_path: Path) -> None:
    """What one task stores is the next one's input, one file or a whole folder."""
    node = await start_node()
    stored = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1")
    clip = await fetched(node, stored.output["clip_path"])
    assert (clip["name"], clip["sha256"]) == ("a_clip.mp4", digest(b"clip" * 1000))
    frames = await fetched(node, stored.output["frames_dir"], directory=True)
    assert frames["files"] == [f"{number:04d}.jpg" for number in range(6)]
    assert await refused(node, "t1/missing.mp4") == "FILE_NOT_FOUND"
    assert await refused(node, "t2/", directory=True) == "FILE_NOT_FOUND"


async def test_links_inside_the_store_are_not_followed(start_node: NodeFactory, tmp_path: Path) -> None:
    """A link that somebody put into the output folder does not lead out of it."""
    node = await start_node()
    node.root.mkdir(parents=True)
    (node.root / "x").symlink_to("/etc/passwd")
    (node.root / "etc").symlink_to("/etc")
    assert await refused(node, "x") == "PATH_REFUSED"
    assert await refused(node, "etc/passwd") == "PATH_REFUSED"


async def test_data_urls(start_node: NodeFactory) -> None:
    """Bytes in the reference itself, base64 or percent-encoded, get a name with the right extension; nonsense is refused."""
    node = await start_node()
    body = os.urandom(3000)
    inline = await fetched(node, f"data:image/png;base64,{base64.b64encode(body).decode()}")
    assert (inline["name"], inline["sha256"]) == ("inline.png", digest(body))
    text = await fetched(node, "data:text/plain;charset=utf-8,a%20b")
    assert text["sha256"] == digest(b"a b")
    assert await refused(node, "data:image/png;base64,!!!") == "INVALID_ARGUMENT"
    assert await refused(node, "data:nonsense") == "INVALID_ARGUMENT"


async def test_web_address_must_be_allowed(start_node: NodeFactory, shelf: Shelf) -> None:
    """A private address is refused before anything is asked of it, however it is written; an allowed one is fetched."""
    closed = await start_node()
    port = shelf.base.rpartition(":")[2]
    for host in (
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ):
        assert await refused(closed, f"http://{host}:{port}/a.mp4") == "ADDRESS_REFUSED", host
    assert shelf.requests == []
    await closed.stop()
    node = await start_node(egress_allow=(f"127.0.0.1:{port}",))
    got = await fetched(node, f"{shelf.base}/films/a%20clip.mp4?token=1")
    assert (got["name"], got["sha256"]) == ("a_clip.mp4", digest(shelf.body))


async def test_redirect_to_a_private_address_is_refused(start_node: NodeFactory, shelf: Shelf) -> None:
    """Each hop of a redirect is checked like the first address."""
    node = await start_node(egress_allow=(shelf.base.removeprefix("http://"),))
    shelf.redirect_to = "http://169.254.169.254/latest/meta-data"
    assert await refused(node, f"{shelf.base}/a.mp4") == "ADDRESS_REFUSED"
    shelf.redirect_to = "file:///etc/passwd"
    assert await refused(node, f"{shelf.base}/a.mp4") == "ADDRESS_REFUSED"
    shelf.redirect_to = f"{shelf.base}/again"
    assert await refused(node, f"{shelf.base}/a.mp4") == "INVALID_ARGUMENT"


async def test_cut_download_is_resumed(start_node: NodeFactory, shelf: Shelf) -> None:
    """A body that breaks off is continued where it broke, and arrives whole."""
    node = await start_node(egress_allow=("127.0.0.1",))
    shelf.body, shelf.cut_after = os.urandom(1_200_000), [600_000, 300_000]
    got = await fetched(node, f"{shelf.base}/a.mp4")
    assert got["sha256"] == digest(shelf.body)
    # What the client has not yet read when the connection breaks is lost: it may resume a little before the cut.
    first, second, third = shelf.offsets()
    assert first == 0 < second <= 600_000
    assert second < third <= second + 300_000


async def test_cut_download_without_validator_begins_anew(start_node: NodeFactory, shelf: Shelf) -> None:
    """Without an ETag two halves could be of two files: the download starts again."""
    node = await start_node(egress_allow=("127.0.0.1",))
    shelf.etag, shelf.cut_after = "", [100_000]
    assert (await fetched(node, f"{shelf.base}/a.mp4"))["sha256"] == digest(shelf.body)
    assert shelf.offsets() == [0, 0]


async def test_changed_source_is_not_glued_together(start_node: NodeFactory, shelf: Shelf) -> None:
    """When the source has changed between two parts, only the new one's bytes arrive."""
    node = await start_node(egress_allow=("127.0.0.1",))
    shelf.cut_after = [100_000]
    original = shelf.get

    async def get_and_change(request: Any) -> Any:
        response = await original(request)
        shelf.body, shelf.etag = b"new" * 1000, '"v2"'
        return response

    shelf.get = get_and_change  # type: ignore[method-assign]
    async with serving(shelf):
        assert (await fetched(node, f"{shelf.base}/a.mp4"))["sha256"] == digest(b"new" * 1000)


async def test_server_errors(start_node: NodeFactory, shelf: Shelf) -> None:
    """A passing 503 is tried again, a 404 is FILE_NOT_FOUND, a 403 is MEDIA_REFUSED, a lasting 500 is UNAVAILABLE."""
    node = await start_node(egress_allow=("127.0.0.1",))
    shelf.statuses = [503]
    assert (await fetched(node, f"{shelf.base}/a.mp4"))["sha256"] == digest(shelf.body)
    shelf.statuses = [404]
    assert await refused(node, f"{shelf.base}/b.mp4") == "FILE_NOT_FOUND"
    shelf.statuses = [403]
    assert await refused(node, f"{shelf.base}/b.mp4") == "MEDIA_REFUSED"


async def test_full_disk_is_not_taken_for_a_broken_connection(shelf: Shelf) -> None:
    """When the kernel has no space left, the download fails at once with DISK_FULL instead of asking again."""
    egress = Egress(EgressPolicy(allow=("127.0.0.1",)))

    def request(headers: Mapping[str, str]) -> Any:
        return egress.request("GET", f"{shelf.base}/a.mp4", timeout_seconds=10, headers=headers)

    with pytest.raises(TaskFailed) as failed:
        async with Sink(Path("/dev/full"), 10**9) as sink:
            await WebSource(request, "the host", 10**9).download(sink)
    await egress.aclose()
    assert (failed.value.code, failed.value.retryable) == ("DISK_FULL", True)
    assert len(shelf.requests) == 1


async def test_lasting_error_is_given_up(start_node: NodeFactory, shelf: Shelf) -> None:
    """A source that never works is given up after a few tries."""
    node = await start_node(egress_allow=("127.0.0.1",))
    shelf.statuses = [500] * 50
    assert await refused(node, f"{shelf.base}/a.mp4") == "UNAVAILABLE"
    assert len(shelf.requests) == 5


async def test_too_large_is_refused(start_node: NodeFactory, shelf: Shelf, tmp_path: Path) -> None:
    """Every way in has the limit of its kind, and a body whose length is not announced is stopped at it."""
    limits = {"video_limit_mib": 0.2, "image_limit_mib": 0.001, "other_limit_mib": 0.001}
    node = await start_node(egress_allow=("127.0.0.1",), **limits)
    (tmp_path / "a.mp4").write_bytes(bytes(300_000))
    (tmp_path / "b.mp4").write_bytes(bytes(200_000))
    assert await refused(node, str(tmp_path / "a.mp4")) == "PAYLOAD_TOO_LARGE"
    await fetched(node, str(tmp_path / "b.mp4"))
    assert await refused(node, f"{shelf.base}/a.mp4") == "PAYLOAD_TOO_LARGE"
    assert await refused(node, f"data:image/png;base64,{'AAAA' * 1000}") == "PAYLOAD_TOO_LARGE"
    node.root.mkdir(parents=True, exist_ok=True)
    (node.root / "big.srt").write_bytes(bytes(5000))
    assert await refused(node, "big.srt") == "PAYLOAD_TOO_LARGE"
    assert not list((tmp_path / "work" / "cache").iterdir())


async def test_second_fetch_comes_from_the_cache(start_node: NodeFactory, shelf: Shelf) -> None:
    """The same version of a URL is downloaded once: the second time its headers are enough. A new version is fetched."""
    node = await start_node(egress_allow=("127.0.0.1",))
    await fetched(node, f"{shelf.base}/a.mp4")
    shelf.cut_after = [10]
    assert (await fetched(node, f"{shelf.base}/a.mp4"))["sha256"] == digest(shelf.body)
    assert len(shelf.requests) == 2
    shelf.cut_after, shelf.body, shelf.etag = [], b"other", '"v2"'
    assert (await fetched(node, f"{shelf.base}/a.mp4"))["sha256"] == digest(b"other")


async def test_work_folder_is_for_one_replica(start_node: NodeFactory) -> None:
    """Two replicas cannot share a work folder, because each clears its scratch files at its start."""
    await start_node()
    with pytest.raises(SystemExit, match="used by another replica"):
        await start_node()
