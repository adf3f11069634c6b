"""FileService against its contract: the real filestore over a local folder, through a plain sync client."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from filestore.local import LocalBackend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from filestore.wire import add_file_service
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from tests.contracts.calls import refused
from tests.contracts.conftest import Room
from tests.contracts.laws import RoomLaws
from yivideo.file.v1 import file_pb2, file_pb2_grpc

CONTENT = bytes(range(256)) * 1000
SECONDS = 20.0


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    root: Path = tmp_path_factory.mktemp("files")

    @asynccontextmanager
    async def filestore() -> AsyncIterator[str]:
        section = FilestoreSection(root=root, max_file_mib=1, quota_mib=3)
        store = FileStore(LocalBackend(root), section)
        await store.start()
        server = RpcServer(RuntimeSection(drain_seconds=0))
        server.add(add_file_service, FileServicer(store), SERVICE)
        try:
            async with server.running() as address:
                yield address
        finally:
            await store.backend.aclose()

    return filestore


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return file_pb2_grpc.FileServiceStub


def messages(header: file_pb2.UploadHeader, content: bytes) -> Iterator[file_pb2.UploadRequest]:
    yield file_pb2.UploadRequest(header=header)
    for start in range(0, len(content), 100_000):
        yield file_pb2.UploadRequest(chunk=content[start : start + 100_000])
    yield file_pb2.UploadRequest(trailer=file_pb2.UploadTrailer(size_bytes=len(content)))


def upload(stub: Any, path: str, content: bytes = CONTENT, **header: Any) -> file_pb2.File:
    header_message = file_pb2.UploadHeader(path=path, **header)
    answer: file_pb2.UploadResponse = stub.Upload(messages(header_message, content), timeout=SECONDS)
    return answer.file


def download(stub: Any, path: str, **request: Any) -> tuple[file_pb2.DownloadHeader, bytes]:
    answers = list(stub.Download(file_pb2.DownloadRequest(path=path, **request), timeout=SECONDS))
    assert [answer.WhichOneof("payload") for answer in answers] == ["header"] + ["chunk"] * (len(answers) - 1)
    return answers[0].header, b"".join(answer.chunk for answer in answers[1:])


class TestLaws(RoomLaws):
    """What every room keeps."""

    service = file_pb2.DESCRIPTOR.services_by_name["FileService"]


class TestBytes:
    """What goes in comes out."""

    def test_a_file_comes_back_whole_and_described(self, grpc_stub: Any) -> None:
        """Size, checksum, type and etag describe the bytes that were sent."""
        stored = upload(grpc_stub, "task-1/a.wav", size_bytes=len(CONTENT))
        assert (stored.size_bytes, stored.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        assert stored.content_type.startswith("audio/")
        header, content = download(grpc_stub, "task-1/a.wav")
        assert content == CONTENT
        assert (header.file.etag, header.length_bytes) == (stored.etag, len(CONTENT))
        assert grpc_stub.StatFile(file_pb2.StatFileRequest(path="task-1/a.wav")).file == header.file

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, 10, CONTENT[:10]),
            (1000, 0, CONTENT[1000:]),
            (-5, 0, CONTENT[-5:]),
            (255_990, 99, CONTENT[255_990:]),
        ],
    )
    def test_ranges(self, grpc_stub: Any, offset: int, length: int, expected: bytes) -> None:
        """From an offset, a suffix, and cut at the end."""
        upload(grpc_stub, "ranges.bin")
        header, content = download(grpc_stub, "ranges.bin", offset_bytes=offset, length_bytes=length)
        assert content == expected
        assert header.length_bytes == len(expected)
        assert header.file.size_bytes == len(CONTENT)

    def test_a_range_past_the_end_is_out_of_range(self, grpc_stub: Any) -> None:
        """OUT_OF_RANGE, unless the file is another one by now: then all of it comes."""
        upload(grpc_stub, "ranges.bin")
        with refused("OUT_OF_RANGE", "RANGE_REFUSED"):
            download(grpc_stub, "ranges.bin", offset_bytes=len(CONTENT))
        _, content = download(grpc_stub, "ranges.bin", offset_bytes=len(CONTENT), if_range_etag="other")
        assert content == CONTENT


class TestRefusals:
    """Each documented status, and that nothing is left behind."""

    def test_what_is_not_there(self, grpc_stub: Any) -> None:
        """NOT_FOUND from every call that names a file."""
        with refused("NOT_FOUND", "FILE_NOT_FOUND"):
            grpc_stub.StatFile(file_pb2.StatFileRequest(path="none"), timeout=SECONDS)
        with refused("NOT_FOUND", "FILE_NOT_FOUND"):
            download(grpc_stub, "none")
        with refused("NOT_FOUND", "FILE_NOT_FOUND"):
            grpc_stub.DeleteFile(file_pb2.DeleteFileRequest(path="none"), timeout=SECONDS)
        with refused("NOT_FOUND", "FILE_NOT_FOUND"):
            grpc_stub.PresignFile(file_pb2.PresignFileRequest(path="none"), timeout=SECONDS)

    @pytest.mark.parametrize(
        "path", ["", "/a", "../a", "a/../b", "a/./b", "a//b", "a/", "a\nb", "a\x00", "é" * 600, "."]
    )
    def test_bad_paths(self, grpc_stub: Any, path: str) -> None:
        """A path outside the contract is INVALID_ARGUMENT wherever it is named."""
        with refused("INVALID_ARGUMENT"):
            upload(grpc_stub, path)
        with refused("INVALID_ARGUMENT"):
            download(grpc_stub, path)
        with refused("INVALID_ARGUMENT"):
            grpc_stub.StatFile(file_pb2.StatFileRequest(path=path), timeout=SECONDS)
        with refused("INVALID_ARGUMENT"):
            grpc_stub.DeleteFile(file_pb2.DeleteFileRequest(path=path), timeout=SECONDS)

    @pytest.mark.parametrize(
        ("header", "content"),
        [
            ({"size_bytes": 5}, CONTENT),
            ({"size_bytes": len(CONTENT) + 1}, CONTENT),
            ({"sha256": "0" * 64}, CONTENT),
            ({"sha256": "nonsense"}, CONTENT),
            ({}, b""),
            ({}, b"x" * (1024 * 1024 + 1)),
        ],
    )
    def test_bytes_that_do_not_fit(self, grpc_stub: Any, header: dict[str, Any], content: bytes) -> None:
        """Wrong size or checksum, nothing at all, or too much: refused, and no file appears."""
        with refused("INVALID_ARGUMENT"):
            upload(grpc_stub, "misfit", content, **header)
        with refused("NOT_FOUND"):
            grpc_stub.StatFile(file_pb2.StatFileRequest(path="misfit"), timeout=SECONDS)

    def test_a_stream_out_of_order(self, grpc_stub: Any) -> None:
        """No header, two of them, or no trailer is INVALID_ARGUMENT."""
        header = file_pb2.UploadRequest(header=file_pb2.UploadHeader(path="order"))
        chunk = file_pb2.UploadRequest(chunk=b"x")
        for stream in ([], [chunk], [chunk, header], [header, chunk], [header, chunk, header]):
            with refused("INVALID_ARGUMENT"):
                grpc_stub.Upload(iter(stream), timeout=SECONDS)
        with refused("NOT_FOUND"):
            grpc_stub.StatFile(file_pb2.StatFileRequest(path="order"), timeout=SECONDS)

    def test_a_file_that_exists(self, grpc_stub: Any) -> None:
        """`if_absent` refuses with ALREADY_EXISTS and leaves the old bytes."""
        upload(grpc_stub, "kept", b"old")
        with refused("ALREADY_EXISTS", "FILE_EXISTS"):
            upload(grpc_stub, "kept", b"new", if_absent=True)
        assert download(grpc_stub, "kept")[1] == b"old"

    def test_a_full_store(self, grpc_stub: Any) -> None:
        """Past the quota: RESOURCE_EXHAUSTED; deleting makes room again."""
        with refused("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"):
            for number in range(4):
                upload(grpc_stub, f"bulk/{number}", b"x" * 1_000_000)
        done = grpc_stub.DeleteFiles(file_pb2.DeleteFilesRequest(prefix="bulk"), timeout=SECONDS)
        assert done.deleted_count >= 1
        assert not done.failed_paths
        upload(grpc_stub, "bulk/again", b"x" * 1_000_000)
        grpc_stub.DeleteFiles(file_pb2.DeleteFilesRequest(prefix="bulk/"), timeout=SECONDS)

    def test_an_empty_prefix_deletes_nothing(self, grpc_stub: Any) -> None:
        """Deleting everything needs more than leaving a field out."""
        upload(grpc_stub, "kept", b"still")
        with refused("INVALID_ARGUMENT"):
            grpc_stub.DeleteFiles(file_pb2.DeleteFilesRequest(), timeout=SECONDS)
        assert download(grpc_stub, "kept")[1] == b"still"


class TestFolders:
    """Listing and deleting by prefix."""

    def test_pages_are_complete_and_in_order(self, grpc_stub: Any) -> None:
        """Pages joined by their tokens are the whole listing; a token of another listing is refused."""
        paths = sorted(f"pages/{number}.bin" for number in range(7))
        for path in paths:
            upload(grpc_stub, path, b"x")
        seen: list[str] = []
        request = file_pb2.ListFilesRequest(prefix="pages/", recursive=True, page_size=3)
        while True:
            page = grpc_stub.ListFiles(request, timeout=SECONDS)
            seen += [file.path for file in page.files]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == paths
        request.prefix = "other/"
        with refused("INVALID_ARGUMENT"):
            grpc_stub.ListFiles(request, timeout=SECONDS)

    def test_a_folder_never_takes_its_neighbour_along(self, grpc_stub: Any) -> None:
        """`task-1` is not a prefix of `task-10/`; deleting nothing is a success."""
        upload(grpc_stub, "task-7/a", b"x")
        upload(grpc_stub, "task-70/a", b"x")
        done = grpc_stub.DeleteFiles(file_pb2.DeleteFilesRequest(prefix="task-7"), timeout=SECONDS)
        assert (done.deleted_count, done.deleted_bytes) == (1, 1)
        assert download(grpc_stub, "task-70/a")[1] == b"x"
        again = grpc_stub.DeleteFiles(file_pb2.DeleteFilesRequest(prefix="task-7"), timeout=SECONDS)
        assert again.deleted_count == 0


class TestPresigned:
    """URLs of a store that cannot check them itself."""

    def test_a_token_opens_one_file_for_one_method(self, grpc_stub: Any) -> None:
        """VerifyPresigned accepts what PresignFile made, and PERMISSION_DENIED everything else."""
        upload(grpc_stub, "signed.txt", b"x")
        made = grpc_stub.PresignFile(
            file_pb2.PresignFileRequest(path="signed.txt", download_name="ü b.txt"), timeout=SECONDS
        )
        query = parse_qs(urlsplit(made.url).query)
        (token,) = [value for values in query.values() for value in values if len(value) > 30]
        good = {
            "bucket": grpc_stub.GetStorage(file_pb2.GetStorageRequest()).default_bucket,
            "path": "signed.txt", "method": file_pb2.PRESIGN_METHOD_GET, "token": token,
        }  # fmt: skip

        def verify(**change: Any) -> file_pb2.VerifyPresignedResponse:
            request = file_pb2.VerifyPresignedRequest(**{**good, **change})
            answer: file_pb2.VerifyPresignedResponse = grpc_stub.VerifyPresigned(request, timeout=SECONDS)
            return answer

        assert verify().download_name == "ü b.txt"
        assert verify(method=file_pb2.PRESIGN_METHOD_UNSPECIFIED).download_name == "ü b.txt"
        changes: tuple[dict[str, Any], ...] = (
            {"path": "other.txt"}, {"method": file_pb2.PRESIGN_METHOD_PUT}, {"bucket": "other"},
            {"token": token[:-2]}, {"token": ""}, {"token": "é"},
        )  # fmt: skip
        for change in changes:
            with refused("PERMISSION_DENIED"):
                verify(**change)

    @pytest.mark.parametrize("seconds", [-1, 604_801])
    def test_a_life_outside_the_contract(self, grpc_stub: Any, seconds: int) -> None:
        """A URL works for a second to a week."""
        upload(grpc_stub, "signed.txt", b"x")
        with refused("INVALID_ARGUMENT"):
            grpc_stub.PresignFile(
                file_pb2.PresignFileRequest(path="signed.txt", expires_seconds=seconds), timeout=SECONDS
            )


def test_the_store_describes_itself(grpc_stub: Any) -> None:
    """Backend, quota and count are told; no path of the machine and no secret."""
    upload(grpc_stub, "counted", b"x")
    told = grpc_stub.GetStorage(file_pb2.GetStorageRequest(), timeout=SECONDS)
    assert (told.backend, told.healthy, told.quota_bytes) == ("local", True, 3 * 1024 * 1024)
    assert told.file_count >= 1
    assert told.used_bytes >= 1
    assert "/" not in told.endpoint
