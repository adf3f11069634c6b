"""The name of the bucket that an empty name means; the store is asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

if TYPE_CHECKING:
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub


class DefaultBucket:
    """The store's own bucket."""

    def __init__(self, files: FileServiceAsyncStub) -> None:
        self._files = files
        self._name = ""

    async def named(self, bucket: str) -> str:
        """Return the bucket, by its name when that is empty. Raises what the store says when it cannot be asked."""
        if not bucket and not self._name:
            async with rpc_errors():
                self._name = (await self._files.GetStorage(file_pb2.GetStorageRequest())).default_bucket
        return bucket or self._name
