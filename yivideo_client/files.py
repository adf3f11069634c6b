"""Files over REST: uploads that are checked, downloads that go on where they stopped, listings."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

from yivideo_client.bulk import Reply
from yivideo_client.digest import path_of_input, sha256_of
from yivideo_client.download import fetch, pour
from yivideo_client.errors import NotFound
from yivideo_client.local_file import check_not_empty
from yivideo_client.models import StoredFile, listed, part
from yivideo_client.pouring import opened_stream
from yivideo_client.transport import Transport, quoted
from yivideo_client.tries import FAULTS, Broken
from yivideo_client.upload import Told, Upload
from yivideo_client.waiting_open import opened_when_ready


class Files:
    """The store of one installation, as one key sees it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def upload(
        self,
        source: Path,
        path: str,
        *,
        bucket: str = "",
        only_new: bool = False,
        parts: bool | None = None,
        progress: Told | None = None,
    ) -> StoredFile:
        """Store a local file under a path; what is there is replaced whole, or with `only_new` refused (Conflict).

        `parts`: in parts that go side by side, of which a later run sends only those that are missing. By default a file goes
        whole, and on in parts when a large one breaks on its way. Raises IntegrityError when other bytes came than
        were read here, which are then removed; OSError for what is no plain file or an empty one.
        """
        check_not_empty(source)
        sent = self._heard(progress)
        return await Upload(self._transport, self._stat, source, path, bucket, only_new, sent).run(parts)

    def _heard(self, progress: Told | None) -> Told:
        """Return what an upload tells its progress: whoever takes bytes is there, also before it has answered."""

        def told(done: int, total: int) -> None:
            self._transport.reach.heard = True
            if progress:
                progress(done, total)

        return told

    async def upload_stream(
        self,
        source: IO[bytes],
        path: str,
        *,
        bucket: str = "",
        only_new: bool = False,
        progress: Told | None = None,
    ) -> StoredFile:
        """Store what an open stream gives until it ends, such as a pipe; `progress` knows of no more bytes than have come.

        It is kept in blocks in the folder for temporary files while it is sent. Raises IntegrityError as `upload` does, and OSError
        for a stream that ends at once.
        """
        from yivideo_client.piped import upload_stream

        return await upload_stream(self, self._transport, source, path, bucket, only_new, progress)

    async def put_once(self, source: Path, prefix: str, *, progress: Told | None = None) -> StoredFile:
        """Store a local file under `<prefix>/<digest of key and content>/<its name>`, unless it is there.

        So the same input has the same path in every run, and a repeated submission is the same request. The key is part of
        it because files have owners: another user's copy of the same film is out of reach.
        """
        check_not_empty(source)
        digest = await sha256_of(source)
        path = path_of_input(digest, source.name, prefix, self._transport.connection.api_key or "")
        try:
            return await self.stat(path)
        except NotFound:
            pass
        upload = Upload(self._transport, self._stat, source, path, "", False, self._heard(progress), digest)
        # One that has changed since it was hashed is not found by what it was: `Upload` removes what is not what it says.
        return await upload.run(None)

    async def download(
        self,
        file: StoredFile | str,
        target: Path,
        *,
        bucket: str = "",
        parallel: int = 4,
        progress: Told | None = None,
    ) -> int:
        """Fetch a file into `target`, which appears when it is whole; returns its bytes.

        A target that is no plain file (`/dev/stdout`, a pipe, a device) is written to in order and is never replaced; what a link
        leads to is written, and the link stays.

        What an interrupted download left is used again as long as the stored file has not changed. Large files come in
        up to `parallel` requests at a time. Raises NotFound, IntegrityError.
        """
        named = file if isinstance(file, StoredFile) else StoredFile(file, 0, bucket=bucket)
        descriptor = await opened_when_ready(target, opened_stream)
        if descriptor is not None:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                return await self.download_to(named, stream, progress=progress)
        known = await self.stat(named.path, bucket=named.bucket)
        return await fetch(
            self._transport, known, target, expected_sha256=named.sha256, parallel=parallel, progress=progress
        )

    async def download_to(
        self, file: StoredFile | str, stream: IO[bytes], *, bucket: str = "", progress: Told | None = None
    ) -> int:
        """Write a file to an open stream (its descriptor: a pipe, a socket, a terminal, a file) in order; returns its bytes.

        Raises NotFound, IntegrityError (what was written is written), BrokenPipeError when nobody reads any more.
        """
        named = file if isinstance(file, StoredFile) else StoredFile(file, 0, bucket=bucket)
        known = await self.stat(named.path, bucket=named.bucket)
        stream.flush()
        return await pour(
            self._transport, known, stream.fileno(), expected_sha256=named.sha256, progress=progress
        )

    async def stat(self, path: str, *, bucket: str = "") -> StoredFile:
        """Return a file's size and ETag. Raises NotFound."""
        tries = self._transport.tries()
        while True:
            try:
                return await self._stat(path, bucket)
            except FAULTS as fault:
                await tries.after(fault)

    async def _stat(self, path: str, bucket: str) -> StoredFile:
        try:
            reply = await self._transport.bulk.head(
                f"/v1/files/download/{quoted(path)}", {"bucket": bucket} if bucket else None
            )
        except NotFound as error:  # without a body: HEAD is answered so
            self._transport.reach.heard = True
            detail = f"there is no file {path!r}, or it is not this key's"
            raise NotFound(404, "FILE_NOT_FOUND", detail, request_id=error.request_id) from None
        size = _length(reply)
        self._transport.reach.heard = True
        return StoredFile(
            path=path,
            size=size,
            name=path.rpartition("/")[2],
            bucket=bucket,
            etag=reply.headers.get("ETag") or "",
            content_type=reply.headers.get("Content-Type") or "",
        )

    async def exists(self, path: str, *, bucket: str = "") -> bool:
        """Tell whether a file is there."""
        try:
            await self.stat(path, bucket=bucket)
        except NotFound:
            return False
        return True

    async def list(self, prefix: str = "", *, recursive: bool = True) -> AsyncIterator[StoredFile]:
        """Yield the files below a prefix in path order, page by page; without `recursive` one level."""
        query: dict[str, Any] = {"recursive": "true" if recursive else "false"}
        path = f"/v1/files/list/{quoted(prefix)}" if prefix else "/v1/files/list"
        while True:
            page = await self._transport.call("GET", path, query=query)
            for one in listed(page, "files"):
                yield StoredFile.from_answer({"bucket": page.get("bucket"), **one})
            if not part(page, "next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    async def remove(self, path: str, *, bucket: str = "") -> None:
        """Remove a file. Raises NotFound."""
        query = {"bucket": bucket} if bucket else None
        await self._transport.call("DELETE", f"/v1/files/{quoted(path)}", query=query, repeatable=False)

    async def link(self, path: str, *, hours: int = 24, bucket: str = "") -> str:
        """Return a URL that works without a key for some hours (1 to 168)."""
        query = {"expires_hours": hours, **({"bucket": bucket} if bucket else {})}
        answer = await self._transport.call("GET", f"/v1/files/url/{quoted(path)}", query=query)
        return str(part(answer, "download_url"))


def _length(head: Reply) -> int:
    """Return how long a file is by its head. Raises Broken for one that does not say: it would be taken for an empty file."""
    text = head.headers.get("Content-Length") or ""
    if not (text.isascii() and text.isdecimal()):
        raise Broken(f"the length of a file was answered with {text!r}")
    return int(text)
