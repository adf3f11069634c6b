"""Registers FileService with a codec that does not copy the bytes of files; the wire is the contract's (runtime.chunk_codec)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import grpc

from filestore.servicer import SERVICE, FileServicer
from runtime.chunk_codec import reader, writer
from yivideo.file.v1 import file_pb2
from yivideo.file.v1.file_pb2_grpc import add_FileServiceServicer_to_server


class _Handlers:
    """Takes what the generated code registers."""

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Leave them: they are the same methods, with the generated codec."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        self.methods.update(methods)


def add_file_service(servicer: FileServicer, server: grpc.aio.Server) -> None:
    """Register the servicer; takes the place of the generated `add_FileServiceServicer_to_server`."""
    taken = _Handlers()
    add_FileServiceServicer_to_server(servicer, cast(grpc.aio.Server, taken))
    methods = taken.methods
    upload, download = methods["Upload"], methods["Download"]
    methods["Upload"] = upload._replace(request_deserializer=reader(file_pb2.UploadRequest, "chunk"))
    methods["Download"] = download._replace(response_serializer=writer())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    # The stubs of grpcio's types do not know this method yet.
    cast(Any, server).add_registered_method_handlers(SERVICE, methods)
