"""The S3 store alone: links that S3 itself checks (marker `s3`), and stores that are busy, wrong, cut off or not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import pytest
from yarl import URL

from filestore.access import Caller
from filestore.s3 import S3Backend
from filestore.s3_write import OWNER
from filestore.settings import S3Section
from filestore.signing import Grant, PresignMethod, UrlSigner
from results.file_links import PRESIGNED
from runtime.errors import FileNotFound, Internal, QuotaExceeded, Unavailable, WrongState
from tests.filestore.contents import new_file, pieces, read_all

GET, PUT = PresignMethod.GET, PresignMethod.PUT
SECRET = "a-secret-key-of-the-store"


@pytest.fixture
async def real(s3_section: S3Section, bucket: str) -> AsyncIterator[S3Backend]:
    """A store on the real server."""
    store = S3Backend(s3_section)
    await store.start(bucket)
    yield store
    await store.aclose()


@pytest.mark.s3
@pytest.mark.timeout(300)
async def test_links_open_exactly_one_file(real: S3Backend, bucket: str) -> None:
    """A GET link reads without credentials under its download name, a PUT link writes; changed or expired ones do not."""
    await real.put(new_file(bucket, "ü/film 1.mp4", b"content"), pieces(b"content"))
    url = (await real.presign(bucket, "ü/film 1.mp4", Grant(GET, 60, "für dich.mp4"), internal=False)).url
    write = await real.presign(
        bucket, "new/file", Grant(PUT, caller=Caller("bob"), task_id="t1"), internal=False
    )
    short = (await real.presign(bucket, "ü/film 1.mp4", Grant(GET, 1), internal=True)).url
    async with aiohttp.ClientSession() as client:

        async def status(method: str, link: str, data: bytes | None = None, **headers: str) -> int:
            target = URL(link, encoded=True)
            async with client.request(method, target, data=data, headers=headers) as answer:
                return answer.status

        async with client.get(URL(url, encoded=True)) as answer:
            assert await answer.read() == b"content"
            assert "f%C3%BCr%20dich.mp4" in answer.headers["Content-Disposition"]
        assert await status("GET", url.replace("film", "filn")) == 403
        assert await status("PUT", url, b"evil") == 403
        assert await status("GET", url.split("?")[0]) == 403
        assert await status("PUT", write.url, b"evil") == 403
        assert await status("PUT", write.url, b"evil", **{**write.headers, OWNER: "mallory"}) == 403
        assert await status("PUT", write.url, b"written", **write.headers) == 200
        assert await read_all(real, bucket, "new/file") == b"written"
        written = await real.stat(bucket, "new/file")
        assert (written.sha256, written.owner, written.task_id) == ("", "bob", "t1")
        await asyncio.sleep(2.1)
        assert await status("GET", short) == 403


@pytest.mark.s3
@pytest.mark.timeout(300)
async def test_a_wrong_key_is_our_fault_and_told_without_it(s3_section: S3Section, bucket: str) -> None:
    """A store that refuses our credentials is Internal, and no message has the key."""
    wrong = s3_section.model_copy(update={"secret_key": type(s3_section.secret_key)(SECRET)})
    store = S3Backend(wrong)
    with pytest.raises(Internal) as caught:
        await store.start(bucket)
    assert SECRET not in str(caught.value)
    assert s3_section.access_key not in str(caught.value)
    await store.aclose()


Answer = Callable[[int], bytes]
Scripted = Callable[[Answer], AbstractAsyncContextManager[tuple[S3Backend, list[str]]]]


def http(status: int, body: bytes = b"", headers: str = "", length: int | None = None) -> bytes:
    """Return one HTTP answer."""
    size = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n".encode() + body
    )


def fault(code: str) -> bytes:
    """Return S3's error document."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>at host h.internal</Message></Error>".encode()


@pytest.fixture
def scripted() -> Scripted:
    """Return a block with a server that gives the n-th request the n-th answer, and the request lines that it saw."""

    @asynccontextmanager
    async def serving(answer: Answer) -> AsyncIterator[tuple[S3Backend, list[str]]]:
        seen: list[str] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = [
                line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")
            ]
            if length:
                await reader.readexactly(int(length[0]))
            seen.append(head.splitlines()[0])
            writer.write(answer(len(seen)))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = S3Backend(S3Section(endpoint=f"127.0.0.1:{port}", access_key="key", secret_key=SECRET))
        async with server:
            try:
                await store.start("bucket")
                yield store, seen
            finally:
                await store.aclose()

    return serving


DESCRIBED = 'ETag: "1"\r\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n'


async def test_a_busy_store_is_asked_again(scripted: Scripted) -> None:
    """503 is answered by trying again, with success when the store recovers."""
    async with scripted(
        lambda n: http(503, fault("SlowDown")) if n in (2, 3) else http(200, b"", DESCRIBED)
    ) as (store, seen):
        await store.stat("bucket", "x")
        assert len(seen) == 4


async def test_a_store_that_stays_busy_is_unavailable(scripted: Scripted) -> None:
    """After four tries the caller is told, and can try later."""
    async with scripted(lambda n: http(200) if n == 1 else http(503, fault("SlowDown"))) as (store, seen):
        with pytest.raises(Unavailable):
            await store.stat("bucket", "x")
        assert len(seen) == 5


FAULTS = [
    (http(404, fault("NoSuchKey")), FileNotFound),
    (http(404), FileNotFound),
    (http(403, fault("SignatureDoesNotMatch")), Internal),
    (http(400, fault("SomethingNew")), Internal),
    (http(400, b"<html>not xml"), Internal),
    (http(507, fault("XMinioStorageFull")), QuotaExceeded),
    (http(302, b"", "Location: http://elsewhere.example/\r\n"), Internal),
]


@pytest.mark.parametrize(("answer", "kind"), FAULTS)
async def test_faults_become_our_errors(scripted: Scripted, answer: bytes, kind: type[Exception]) -> None:
    """Every answer is an error of our tree; the store's own text, hosts and keys stay inside; redirects are not followed."""
    async with scripted(lambda n: http(200) if n == 1 else answer) as (store, _):
        with pytest.raises(kind) as caught:
            await store.put(new_file("bucket", "x", b"1"), pieces(b"1"))
        assert "h.internal" not in str(caught.value)
        assert SECRET not in str(caught.value)


async def test_a_file_that_is_cut_off_is_unavailable(scripted: Scripted) -> None:
    """A connection that ends before the announced length is an error, never a shorter file."""
    described = http(200, b"", DESCRIBED, length=10)
    cut = http(200, b"12345", DESCRIBED, length=10)
    async with scripted(lambda n: described if n <= 2 else cut) as (store, _):
        with pytest.raises(Unavailable):
            await read_all(store, "bucket", "x")


async def test_a_reader_s_own_errors_are_not_the_store_s(scripted: Scripted) -> None:
    """What fails where the bytes go (a socket, a disk) passes through as it is: the store was there."""
    whole = http(200, b"1234567890", DESCRIBED)
    described = http(200, b"", DESCRIBED, length=10)
    async with scripted(lambda n: described if n <= 2 else whole) as (store, _):
        with pytest.raises(BrokenPipeError):
            async with store.open("bucket", "x") as opened:
                async for _chunk in opened.chunks:
                    raise BrokenPipeError


async def test_completion_that_fails_inside_a_success_is_a_failure(scripted: Scripted) -> None:
    """S3 may answer 200 and an error document to CompleteMultipartUpload: the file is not reported as stored."""
    upload = b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"

    def answer(number: int) -> bytes:
        # start, begin, two parts, complete, abort
        return {2: http(200, upload), 5: http(200, fault("InternalError"))}.get(
            number, http(200, b"", 'ETag: "e"\r\n')
        )

    content = bytes(9 * 1024 * 1024)
    async with scripted(answer) as (store, seen):
        with pytest.raises(Unavailable):
            await store.put(new_file("bucket", "x", content), pieces(content))
        assert seen[-1].startswith("DELETE /bucket/x?uploadId=u1")


async def test_a_store_that_is_not_there(free_port: Callable[[], int]) -> None:
    """No connection is Unavailable, at the start and later."""
    store = S3Backend(S3Section(endpoint=f"127.0.0.1:{free_port()}", access_key="k", secret_key=SECRET))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await store.start("bucket")
    await store.aclose()


async def test_links_are_signed_offline_for_the_public_endpoint(scripted: Scripted) -> None:
    """A link names the public endpoint, inside callers get the store's own, and signing makes no request."""
    async with scripted(lambda n: http(200)) as (store, seen):
        endpoint = store.endpoint
        with pytest.raises(WrongState):
            await store.presign("bucket", "a b", Grant(GET, 60, ""), internal=False)
        inside = urlsplit((await store.presign("bucket", "a b", Grant(GET, 60), internal=True)).url)
        assert (inside.netloc, unquote(inside.path)) == (endpoint, "/bucket/a b")
        assert parse_qs(inside.query)["X-Amz-Expires"] == ["60"]
        assert len(seen) == 1
    section = S3Section(
        endpoint=endpoint,
        access_key="k",
        secret_key=SECRET,
        public_endpoint="https://files.example.org",
    )
    store = S3Backend(section)
    store._connect()
    outside = urlsplit((await store.presign("bucket", "a", Grant(PUT, 60), internal=False)).url)
    assert (outside.scheme, outside.netloc, outside.path) == ("https", "files.example.org", "/bucket/a")
    await store.aclose()


async def test_without_a_public_endpoint_links_go_through_the_gateway(scripted: Scripted) -> None:
    """With a URL key the gateway serves links for a store that clients cannot reach."""
    async with scripted(lambda n: http(200)) as (store, _):
        store.signer = UrlSigner(b"k" * 32)
        url = (await store.presign("bucket", "a/b", Grant(GET, 60, "n"), internal=False)).url
        assert url.startswith(f"{PRESIGNED}/a/b?bucket=bucket&token=")
        [token] = parse_qs(urlsplit(url).query)["token"]
        assert store.signer.verify("bucket", "a/b", GET, token).download_name == "n"
