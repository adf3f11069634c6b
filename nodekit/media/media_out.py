"""Media out: stores what an attempt has made under its own prefix, and lists it for the result.

The first attempt's files go to `<task_id>/<name>`, those of attempt n to `<task_id>/attempt-<n>/<name>`. So an attempt that was cut
off and comes back late, in the middle of an upload, can neither replace nor delete what its successor has published: nobody
refers to its files. What a failed, cancelled or cut-off attempt has stored is deleted before its end is told.

A task never writes over what it did not make. Where a file lies in its way, what it stores goes to
`<task_id>/attempt-<n>-<8 hex>/<name>` instead, which nobody could foresee.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nodekit.failure import TaskFailed
from nodekit.media.files import Files, StoredFile
from nodekit.media.names import checked_object_path, safe_relative
from nodekit.media_ref import kind_of
from runtime.errors import FileExists, PermissionDenied, YiVideoError
from runtime.logs import get_logger
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

MAX_LISTED_FILES = 1000
"""Files named in a result; a folder may hold more, and is always named whole by its own output field."""
_PARALLEL_TRANSFERS = 4
_PARALLEL_DELETIONS = 8
_DELETE_SECONDS = 20.0
_TAKEN = (FileExists, PermissionDenied)
"""What a store says where something lies that the task has not stored."""


def output_prefix(task_id: str, attempt: int) -> str:
    """Return the object prefix of an attempt's outputs, ending in `/`."""
    return f"{task_id}/" if attempt <= 1 else f"{task_id}/attempt-{attempt}/"


def private_prefix(task_id: str, attempt: int) -> str:
    """Return an object prefix where nothing can lie yet, for outputs whose place is taken."""
    return f"{task_id}/attempt-{max(1, attempt)}-{secrets.token_hex(4)}/"


class MediaOut:
    """The outputs of one attempt."""

    def __init__(self, files: Files, task_id: str, attempt: int) -> None:
        self._files = files
        self.prefix = output_prefix(task_id, attempt)
        self._private_prefix = private_prefix(task_id, attempt)
        self._stored: dict[str, StoredFile] = {}

    async def store(self, source: Path, name: str | None) -> str:
        """Store one file; returns its object path. Raises TaskFailed (OUTPUT_MISSING) when there is no such file."""
        if not await asyncio.to_thread(source.is_file):
            raise TaskFailed("OUTPUT_MISSING", f"the task made no file {source.name}")
        name = name or source.name
        path = _path(self.prefix, name)
        try:
            await self._upload(source, path)
        except _TAKEN:
            path = _path(self._private_prefix, name)
            await self._upload(source, path)
        return path

    async def store_directory(self, source: Path, name: str | None) -> str:
        """Store every file below a folder; returns the object prefix, which ends in `/`."""
        local = await asyncio.to_thread(_files_below, source)
        if not local:
            raise TaskFailed("OUTPUT_MISSING", f"the task made no file in {source.name}/")
        name = name or source.name
        try:
            return await self._upload_all(local, _path(self.prefix, name))
        except _TAKEN:
            # A folder stays whole: what was stored of it goes, and all of it goes elsewhere.
            await self._remove(
                [path for path in self._stored if path.startswith(f"{_path(self.prefix, name)}/")]
            )
            return await self._upload_all(local, _path(self._private_prefix, name))

    async def _upload_all(self, local: list[tuple[Path, str]], folder: str) -> str:
        turns = iter([(path, checked_object_path(f"{folder}/{relative}")) for path, relative in local])

        taken: list[YiVideoError] = []

        async def carry() -> None:
            for path, target in turns:
                if taken:
                    return  # and not broken off: what a store has not heard the end of may still arrive there
                try:
                    await self._upload(path, target)
                except _TAKEN as error:
                    taken.append(error)

        await _side_by_side(carry, _PARALLEL_TRANSFERS)
        if taken:
            raise taken[0]
        return f"{folder}/"

    async def _upload(self, source: Path, path: str) -> None:
        # Noted before it is there: a cancelled upload may still have arrived. A delete spares what the task has not stored.
        self._stored.setdefault(path, StoredFile("", path, 0))
        try:
            self._stored[path] = await self._files.upload(source, path)
        except _TAKEN:
            del self._stored[path]
            raise

    async def _remove(self, paths: list[str]) -> None:
        async def remove() -> None:
            while paths:
                if file := self._stored.pop(paths.pop(), None):
                    await self._files.delete(file)

        await _side_by_side(remove, _PARALLEL_DELETIONS)

    async def discard(self) -> None:
        """Delete what was stored, as far as the store can be reached; what stays goes with the task."""
        try:
            async with asyncio.timeout(_DELETE_SECONDS):
                await self._remove(list(self._stored))
        except (YiVideoError, TimeoutError, OSError) as error:
            log.warning("outputs of an unfinished attempt stay", files=len(self._stored), reason=str(error))

    def listing(self) -> list[task_pb2.OutputFile]:
        """Describe the stored files, at most MAX_LISTED_FILES of them."""
        return [
            task_pb2.OutputFile(
                name=PurePosixPath(file.path).name,
                bucket=file.bucket,
                path=file.path,
                type=kind_of(file.path).value,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
            )
            for file in list(self._stored.values())[:MAX_LISTED_FILES]
        ]

    async def with_urls(self, output: Mapping[str, Any], media: frozenset[str]) -> dict[str, Any]:
        """Return the output with `<field>_minio_url` (`_minio_urls` for lists) beside each media field that has URLs.

        A store that cannot make URLs now costs the task its URLs, not its result.
        """
        answer = dict(output)
        try:
            for field in sorted(media & output.keys()):
                value = output[field]
                urls = await self._urls(value if isinstance(value, list) else [value])
                if urls and isinstance(value, list):
                    answer.setdefault(f"{field}_minio_urls", urls)
                elif urls:
                    answer.setdefault(f"{field}_minio_url", urls[0])
        except YiVideoError as error:
            log.warning("a result goes without URLs", reason=error.message)
        return answer

    async def _urls(self, refs: list[Any]) -> list[str]:
        """Return one URL each; none when one has none. Only what this attempt stored gets one: a result opens no other's file."""
        stored = [self._stored[ref] for ref in refs if isinstance(ref, str) and ref in self._stored]
        if len(stored) < len(refs) or len(refs) > MAX_LISTED_FILES:
            return []
        urls = [await self._files.url(file) for file in stored]
        return urls if all(urls) else []


async def _side_by_side(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run the same work several times at once; the first failure stops the others."""
    running = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _path(prefix: str, name: str) -> str:
    return checked_object_path(f"{prefix}{safe_relative(name)}")


def _files_below(folder: Path) -> list[tuple[Path, str]]:
    return list(_walk(folder))


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.relative_to(folder).as_posix()
