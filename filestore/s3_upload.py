"""One multipart upload: parts go out side by side, bounded; it ends by `complete` or leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from html import unescape

from minio.xml import unmarshal

from filestore.backend import Chunk
from filestore.s3_answers import S3Fault, S3Upload, completion
from filestore.s3_wire import S3Refused, S3Wire
from runtime.errors import Unavailable
from runtime.logs import get_logger

log = get_logger(__name__)

MAX_PARTS = 10_000
"""What every S3 allows."""

_ABORT_SECONDS = 10.0
_ETAG = re.compile(r"<ETag>([^<]*)</ETag>")


class MultipartUpload:
    """An upload that has begun. `add` parts in order, then `complete`; `abort` when anything went wrong."""

    def __init__(self, wire: S3Wire, bucket: str, key: str, upload_id: str, parallel: int) -> None:
        self._wire = wire
        self._bucket = bucket
        self._key = key
        self._upload_id = upload_id
        self._slots = asyncio.Semaphore(parallel)
        self._parts: list[asyncio.Task[str]] = []
        self._broken: Exception | None = None

    @classmethod
    async def begin(
        cls, wire: S3Wire, bucket: str, key: str, headers: Mapping[str, str], parallel: int
    ) -> MultipartUpload:
        """Begin an upload; `headers` carry the content type and metadata of the object to be. Raises S3Refused."""
        _, answer = await wire.call("POST", bucket, key, query={"uploads": ""}, headers=headers, body=[b""])
        return cls(wire, bucket, key, unmarshal(S3Upload, answer.decode()).upload_id, parallel)

    async def add(self, body: list[Chunk], copied: Mapping[str, str] | None = None) -> None:
        """Start sending the next part as soon as fewer than `parallel` are on their way; raises what one met.

        `copied`: headers that name what the store itself copies instead of a body.
        """
        await self._slots.acquire()
        if self._broken is not None:
            raise self._broken
        self._parts.append(asyncio.create_task(self._send(len(self._parts) + 1, body, copied)))

    async def wait(self) -> None:
        """Wait until every part has arrived; raises what one met."""
        for part in self._parts:
            await part

    async def complete(self, headers: Mapping[str, str]) -> None:
        """Make the object appear, whole; raises S3Refused."""
        etags = [part.result() for part in self._parts]
        _, answer = await self._wire.call(
            "POST",
            self._bucket,
            self._key,
            query={"uploadId": self._upload_id},
            headers=headers,
            body=[completion(etags)],
        )
        # S3 begins its answer before it knows: 200 may carry an error document.
        if b"<Error>" in answer[:1024]:
            raise S3Refused(500, S3Fault.of(answer))

    async def abort(self) -> None:
        """Stop what is being sent and let the store drop the parts; if it cannot be told, the cleaner does it later."""
        for part in self._parts:
            part.cancel()
        if self._parts:
            await asyncio.wait(self._parts)
        for part in self._parts:
            if not part.cancelled():
                part.exception()
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await self._wire.call("DELETE", self._bucket, self._key, query={"uploadId": self._upload_id})
        except (S3Refused, Unavailable, TimeoutError) as error:
            if not (isinstance(error, S3Refused) and error.status == 404):
                log.warning("an upload could not be aborted; the cleaner will", error=str(error))

    async def _send(self, number: int, body: list[Chunk], copied: Mapping[str, str] | None) -> str:
        try:
            query = {"partNumber": str(number), "uploadId": self._upload_id}
            headers, answer = await self._wire.call(
                "PUT", self._bucket, self._key, query=query, headers=copied, body=None if copied else body
            )
            if copied is None:
                return headers.get("ETag", "")
            told = _ETAG.search(answer.decode(errors="replace"))
            return unescape(told[1]) if told else ""
        except Exception as error:
            self._broken = error
            raise
        finally:
            self._slots.release()


async def finish_despite_cancel(task: asyncio.Task[None]) -> None:
    """Wait for a bounded clean-up even while the caller is being cancelled."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()
