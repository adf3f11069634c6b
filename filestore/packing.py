"""Between the contract's messages and the store's own values."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from filestore.access import Caller, checked_caller
from filestore.backend import FileInfo
from filestore.signing import PresignMethod
from runtime.errors import InvalidArgument
from yivideo.file.v1 import file_pb2


def to_file(info: FileInfo) -> file_pb2.File:
    """Pack a file's description."""
    stamp = Timestamp()
    stamp.FromDatetime(info.update_time)
    return file_pb2.File(
        bucket=info.bucket,
        path=info.path,
        size_bytes=info.size_bytes,
        sha256=info.sha256,
        content_type=info.content_type,
        etag=info.etag,
        update_time=stamp,
        owner=info.owner,
        task_id=info.task_id,
    )


def to_caller(caller: file_pb2.Caller) -> Caller:
    """Return for whom a request is made; raises InvalidArgument."""
    return checked_caller(caller.user, caller.all_files)


def to_method(method: int) -> PresignMethod:
    """Return what a URL allows; raises InvalidArgument for a value that this program does not know."""
    known: dict[int, PresignMethod] = {
        file_pb2.PRESIGN_METHOD_UNSPECIFIED: PresignMethod.GET,
        file_pb2.PRESIGN_METHOD_GET: PresignMethod.GET,
        file_pb2.PRESIGN_METHOD_PUT: PresignMethod.PUT,
    }
    if method not in known:
        raise InvalidArgument.at("/method", "must be GET or PUT")
    return known[method]
