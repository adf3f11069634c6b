"""What an object store must do for YiVideo; `local` and `s3` do it and pass one test suite.

A backend trusts the names it is given (`filestore.names` checks them) and knows neither quota, gRPC nor tasks. Who may do what is
decided by rules that it is handed (`filestore.access`) and asks in the very step that reads, replaces or deletes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from filestore.access import ANONYMOUS, EVERYTHING, Check, Guard, Reach, free
from filestore.signing import Grant, UrlSigner
from runtime.errors import RangeRefused

Chunk = bytes | memoryview
"""Bytes on their way into the store; a view looks into the message that brought them."""

READ_BYTES = 1024 * 1024
"""Largest chunk that a backend yields: what DownloadResponse promises."""


@dataclass(frozen=True)
class FileInfo:
    """One stored file."""

    bucket: str
    path: str
    size_bytes: int
    sha256: str
    """Lower-case hex; empty when the store does not know it."""
    content_type: str
    etag: str
    """Opaque; changes when the content does."""
    update_time: datetime
    """When the content was last replaced, in UTC."""
    owner: str = ANONYMOUS
    """Whose it is; in a listing of everybody's files an S3 is not asked, and this may be wrong."""
    task_id: str = ""
    """Task that stored it as an output; empty: none."""


@dataclass(frozen=True)
class NewFile:
    """What a writer says about a file before its bytes come."""

    bucket: str
    path: str
    content_type: str
    size_bytes: int | None = None
    """Checked at the end; None: unknown."""
    sha256: str = ""
    """Lower-case hex, checked at the end; empty: unknown."""
    allow_empty: bool = False
    """Accept 0 bytes."""
    owner: str = ANONYMOUS
    task_id: str = ""
    """Task whose output it is; empty: none."""
    may_replace: Guard = free
    """Raises for a file at this path that must stay."""
    named: Callable[[], NewFile] | None = None
    """Gives the same file with its bucket and path, once its content has come; None: they are known already."""

    def final(self) -> NewFile:
        """Return the file as it is named now that its content has come; raises what is wrong with the name."""
        return self.named() if self.named is not None else self


@dataclass(frozen=True)
class OpenFile:
    """A file, or a range of it, that is being read."""

    info: FileInfo
    """The whole file."""
    offset_bytes: int
    length_bytes: int
    chunks: AsyncIterator[bytes]
    """The range's bytes in pieces of at most READ_BYTES; to be consumed once, inside the block that opened it."""


@dataclass(frozen=True)
class FilePage:
    """One page of a listing, in path order (order of UTF-8 bytes)."""

    files: tuple[FileInfo, ...]
    prefixes: tuple[str, ...]
    """Folders one level down, each ending in `/`; only in listings that are not recursive."""
    last: str
    """Where the next page goes on (`list_page(after=...)`); empty: there is none."""


@dataclass(frozen=True)
class Deletion:
    """What a delete of a folder did."""

    deleted: int = 0
    deleted_bytes: int = 0
    failed_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What a bucket holds."""

    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class ByteRange:
    """The bytes that a reader wants."""

    offset_bytes: int = 0
    """First byte; negative: that many bytes before the end."""
    length_bytes: int = 0
    """0: to the end."""
    if_etag: str = field(default="")
    """When set and no longer the file's etag, the whole file is read instead."""

    def within(self, info: FileInfo) -> tuple[int, int]:
        """Return offset and length inside a file; raises RangeRefused when the range starts at or after its end."""
        size = info.size_bytes
        if self.if_etag and self.if_etag != info.etag:
            return 0, size
        offset = max(0, size + self.offset_bytes) if self.offset_bytes < 0 else self.offset_bytes
        if offset >= size and (offset or self.length_bytes or self.offset_bytes):
            raise RangeRefused(f"the file has {size} bytes; the range starts at {offset}")
        rest = size - offset
        return offset, min(rest, self.length_bytes) if self.length_bytes else rest


WHOLE = ByteRange()


@dataclass(frozen=True)
class SignedUrl:
    """A URL that works by itself."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """What a request with it must carry."""


class Loan(Protocol):
    """A file of the store's own folder in the hands of a writer on the same machine; it becomes a stored file by `commit`."""

    path: Path
    """Where to write, from the first byte on."""

    async def commit(self, size_bytes: int, sha256: str) -> FileInfo:
        """Make the file appear with the first `size_bytes` bytes; the writer has hashed them. Errors as of Backend.put."""
        ...


class Backend(Protocol):
    """One object store. Every method may raise Unavailable when the store cannot be reached."""

    name: str
    """`local` or `s3`."""
    endpoint: str
    """Where it is, without credentials."""
    counts_at_once: bool
    """Whether `usage` is exact and costs nothing; otherwise it reads a whole listing."""
    signer: UrlSigner | None
    """What signs URLs that the gateway serves; None: the store has no such URLs."""

    async def start(self, bucket: str) -> None:
        """Make the default bucket when it is absent, and clean up what a crash has left."""
        ...

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write one file; it appears whole at the end or, on any error or cancellation, not at all.

        Raises InvalidArgument when size or sha256 do not fit or nothing came, FileExists, and QuotaExceeded when the
        disk is full.
        """
        ...

    def lend(self, file: NewFile) -> AbstractAsyncContextManager[Loan]:
        """Let a writer on this machine write one file itself; leaving the block without a commit leaves nothing.

        Raises WrongState when the store has no folder on this machine, and QuotaExceeded when the disk is full.
        """
        ...

    def open(
        self, bucket: str, path: str, wanted: ByteRange = WHOLE, readable: Check = free
    ) -> AbstractAsyncContextManager[OpenFile]:
        """Read one file or a range; one version of it, even when it is replaced meanwhile: the one that `readable` was asked about.

        Raises what `readable` says against it, FileNotFound, RangeRefused, and DataLoss when the stored bytes are not what the
        store promised.
        """
        ...

    async def locate(self, bucket: str, path: str) -> tuple[FileInfo, Path]:
        """Return where on this machine a reader finds the content; raises FileNotFound, and WrongState without a folder."""
        ...

    async def stat(self, bucket: str, path: str) -> FileInfo:
        """Describe one file; raises FileNotFound."""
        ...

    async def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str, reach: Reach = EVERYTHING
    ) -> FilePage:
        """List at most `limit` files and folders that begin with `prefix`, those after `after` only.

        Only files within reach, and folders that hold one. A page may have fewer than `limit`, even none, and yet go on.
        """
        ...

    async def delete(self, bucket: str, path: str, guard: Guard = free) -> FileInfo:
        """Delete one file and return what it was; raises FileNotFound, and what the guard says against it."""
        ...

    async def delete_prefix(self, bucket: str, prefix: str, reach: Reach = EVERYTHING) -> Deletion:
        """Delete every file within reach whose path begins with `prefix`, which ends in `/`; goes on past those that fail."""
        ...

    async def presign(
        self, bucket: str, path: str, grant: Grant, *, internal: bool, may_replace: Guard = free
    ) -> SignedUrl:
        """Return a URL that reads or writes one file until it expires; does not check that a file to read exists.

        Where the store itself serves a PUT, raises what `may_replace` says now against the file that is there.
        """
        ...

    async def usage(self, bucket: str) -> Usage:
        """Count the files and bytes of a bucket; may read a whole listing."""
        ...

    async def clean(self, bucket: str, older_than_seconds: float) -> int:
        """Remove uploads that were begun that long ago and never ended; returns how many."""
        ...

    async def ping(self) -> None:
        """Ask the store whether it is there; raises Unavailable."""
        ...

    async def aclose(self) -> None:
        """Give back connections and threads."""
        ...
