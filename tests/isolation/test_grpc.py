"""FileService over gRPC: every call that names files says for whom it is made, and gets at no other user's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from runtime import errors
from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from tests.gateway.conftest import RUNTIME
from tests.isolation.conftest import SECRET, House
from yivideo.file.v1 import file_pb2 as pb
from yivideo.file.v1.file_pb2_grpc import FileServiceStub

pytestmark = pytest.mark.trial("10.13")

METHODS = pb.DESCRIPTOR.services_by_name["FileService"].methods_by_name
NAMES_NOTHING = {"GetStorage", "VerifyPresigned", "ResolveUrl"}
"""Calls that reach no file."""
CALLERS = [pb.Caller(user="bob"), pb.Caller(user="eve"), pb.Caller(), None]


@pytest.fixture
async def stub(house: House) -> AsyncIterator[Any]:
    channel = open_channel(house.files_address, RUNTIME)
    yield FileServiceStub(channel)
    await channel.close()


def requests(caller: pb.Caller | None) -> dict[str, Any]:
    """Return a request of every call, for a caller, that names alice's file."""
    whom: dict[str, Any] = {"caller": caller} if caller is not None else {}
    header = pb.UploadHeader(path=SECRET, **whom)
    return {
        "Upload": iter(
            [
                pb.UploadRequest(header=header),
                pb.UploadRequest(chunk=b"evil"),
                pb.UploadRequest(trailer=pb.UploadTrailer(size_bytes=4)),
            ]
        ),
        "UploadInPlace": iter(
            [
                pb.UploadInPlaceRequest(header=header),
                pb.UploadInPlaceRequest(trailer=pb.UploadInPlaceTrailer(size_bytes=0, sha256="0" * 64)),
            ]
        ),
        "ComposeFile": pb.ComposeFileRequest(
            header=pb.UploadHeader(path="mine/all", **whom), parts=[SECRET], delete_parts=True
        ),
        "Download": pb.DownloadRequest(path=SECRET, **whom),
        "LocateFile": pb.LocateFileRequest(path=SECRET, **whom),
        "StatFile": pb.StatFileRequest(path=SECRET, **whom),
        "ListFiles": pb.ListFilesRequest(prefix="archive-1/", recursive=True, **whom),
        "DeleteFile": pb.DeleteFileRequest(path=SECRET, **whom),
        "DeleteFiles": pb.DeleteFilesRequest(prefix="archive-1/", task_id="archive-1", **whom),
        "PresignFile": pb.PresignFileRequest(path=SECRET, **whom),
    }


def test_every_call_says_for_whom() -> None:
    """A new call of FileService carries a caller and is attacked here, or names no file."""
    assert set(METHODS) - NAMES_NOTHING == set(requests(None))
    for name, method in METHODS.items():
        if name not in NAMES_NOTHING:
            sent = method.input_type
            header = sent.fields_by_name.get("header")
            carrier = (header.message_type if header is not None else None) or sent
            assert "caller" in carrier.fields_by_name, name


@pytest.mark.parametrize("name", sorted(set(METHODS) - NAMES_NOTHING))
async def test_no_call_gets_at_another_users_file(house: House, stub: Any, name: str) -> None:
    """A refusal, or an answer that holds nothing; the store is as it was. Without a caller, too."""
    before = await house.state()
    for caller in CALLERS:
        call = getattr(stub, name)(requests(caller)[name])
        try:
            async with rpc_errors():
                many = METHODS[name].server_streaming
                answers = [answer async for answer in call] if many else [await call]
        except (errors.NotFound, errors.PermissionDenied, errors.InvalidArgument):
            answers = []
        for answer in answers:
            assert b"film" not in answer.SerializeToString() and not getattr(answer, "deleted_count", 0)
        assert await house.state() == before
    owner = getattr(stub, name)
    if not METHODS[name].client_streaming and not METHODS[name].server_streaming:
        answer = await owner(requests(pb.Caller(user="alice"))[name])
        assert answer is not None
    assert isinstance(call, grpc.aio.Call)
