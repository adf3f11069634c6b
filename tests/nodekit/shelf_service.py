"""A FileService over a dict for tests, which can be told to break streams, and to be an S3 whose URLs a web shelf serves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from runtime.errors import FileNotFound, Unavailable
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from tests.nodekit.web_server import Shelf
from yivideo.file.v1 import file_pb2, file_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
CHUNK = 64 * 1024


@dataclass
class ShelfService(file_pb2_grpc.FileServiceServicer):
    """What is stored, what was asked, and what goes wrong."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    """One entry per download that breaks: bytes that it sends first."""
    fail_uploads: int = 0
    upload_begun: asyncio.Event | None = None
    """When given: every upload sets it and then hangs."""
    change_on_cut: bytes | None = None
    downloads: list[int] = field(default_factory=list)
    """The offset of every download."""
    web: Shelf | None = None
    """Where bulk bytes move; None: this is a local store."""
    address: str = ""

    def _describe(self, path: str) -> file_pb2.File:
        if path not in self.files:
            raise FileNotFound(f"there is no file {path!r}")
        body = self.files[path]
        digest = hashlib.sha256(body).hexdigest()
        return file_pb2.File(
            bucket="yivideo", path=path, size_bytes=len(body), sha256=digest, etag=digest[:8]
        )

    async def StatFile(
        self, request: file_pb2.StatFileRequest, context: Context
    ) -> file_pb2.StatFileResponse:
        return file_pb2.StatFileResponse(file=self._describe(request.path))

    async def Download(
        self, request: file_pb2.DownloadRequest, context: Context
    ) -> AsyncIterator[file_pb2.DownloadResponse]:
        self.downloads.append(request.offset_bytes)
        file = self._describe(request.path)
        offset = request.offset_bytes if request.if_range_etag in ("", file.etag) else 0
        body = self.files[request.path][offset:]
        header = file_pb2.DownloadHeader(file=file, offset_bytes=offset, length_bytes=len(body))
        yield file_pb2.DownloadResponse(header=header)
        cut = self.cut_after.pop(0) if self.cut_after else None
        for start in range(0, len(body), CHUNK):
            if cut is not None and start >= cut:
                if self.change_on_cut is not None:
                    self.files[request.path] = self.change_on_cut
                raise Unavailable("the store is gone for a moment")
            yield file_pb2.DownloadResponse(chunk=body[start : start + CHUNK])

    async def Upload(
        self, request_iterator: AsyncIterator[file_pb2.UploadRequest], context: Context
    ) -> file_pb2.UploadResponse:
        path, body = "", b""
        async for message in request_iterator:
            if message.HasField("header"):
                path = message.header.path
            elif message.HasField("trailer"):
                assert message.trailer.size_bytes == len(body)
                break
            else:
                assert len(message.chunk) <= 2 * 1024 * 1024
                body += message.chunk
                if self.upload_begun is not None:
                    self.upload_begun.set()
                    await asyncio.sleep(600)
                if self.fail_uploads:
                    self.fail_uploads -= 1
                    raise Unavailable("the store is gone for a moment")
        self.files[path] = body
        return file_pb2.UploadResponse(file=self._describe(path))

    async def ListFiles(
        self, request: file_pb2.ListFilesRequest, context: Context
    ) -> file_pb2.ListFilesResponse:
        names = sorted(
            name for name in self.files if name.startswith(request.prefix) and name > request.page_token
        )
        page = names[:2]
        token = page[-1] if len(names) > 2 else ""
        return file_pb2.ListFilesResponse(
            files=[self._describe(name) for name in page], next_page_token=token
        )

    async def DeleteFile(
        self, request: file_pb2.DeleteFileRequest, context: Context
    ) -> file_pb2.DeleteFileResponse:
        file = self._describe(request.path)
        del self.files[request.path]
        return file_pb2.DeleteFileResponse(file=file)

    async def PresignFile(
        self, request: file_pb2.PresignFileRequest, context: Context
    ) -> file_pb2.PresignFileResponse:
        if self.web is not None and request.internal:
            return file_pb2.PresignFileResponse(url=f"{self.web.base}/{request.path}")
        self._describe(request.path)
        return file_pb2.PresignFileResponse(
            url=f"/v1/files/presigned/{request.path}?e={request.expires_seconds}"
        )

    async def GetStorage(
        self, request: file_pb2.GetStorageRequest, context: Context
    ) -> file_pb2.GetStorageResponse:
        return file_pb2.GetStorageResponse(backend="s3" if self.web else "local", default_bucket="yivideo")


@asynccontextmanager
async def running(service: ShelfService) -> AsyncIterator[ShelfService]:
    """Serve it on loopback; `service.address` tells where."""
    server = RpcServer(RuntimeSection(metrics_listen="", drain_seconds=0))
    server.add(file_pb2_grpc.add_FileServiceServicer_to_server, service, "yivideo.file.v1.FileService")
    async with server.running() as address:
        service.address = address
        yield service
