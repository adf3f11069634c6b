"""Media in: turns a MediaRef into a local file that a task may read, bounded in size and checked for where it leads."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
import urllib.parse
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import aiohttp

from nodekit.media.files import Files, Sink, StoredFile, too_large
from nodekit.media.media_cache import MediaCache
from nodekit.media.names import checked_object_path, safe_name
from nodekit.media.web_source import WebSource
from nodekit.media_ref import MediaKind, kind_of
from nodekit.settings import NodeSection
from runtime.egress import Egress
from runtime.errors import DeadlineExceeded, FileNotFound, InvalidArgument, PathRefused, PayloadTooLarge

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII)
_EXTENSION_BY_TYPE = {"image/jpeg": "jpg", "audio/mpeg": "mp3", "audio/x-wav": "wav", "text/plain": "txt"}
_PARALLEL_DOWNLOADS = 4
_MAX_SHARED_BYTES = 4096
"""Linux' longest path, with its closing zero."""


class MediaIn:
    """Fetches media for the attempts of one replica."""

    def __init__(self, settings: NodeSection, files: Files, cache: MediaCache, egress: Egress) -> None:
        self._settings = settings
        self._files = files
        self._cache = cache
        self._egress = egress
        self._numbers = count()

    async def fetch(self, ref: str, kind: MediaKind | None, folder: Path) -> Path:
        """Return a local file with the media's bytes, below `folder` or, for a shared path, where it lies.

        Raises PathRefused, AddressRefused, FileNotFound, PayloadTooLarge, InvalidArgument, Unavailable or DeadlineExceeded.
        """
        seconds = self._settings.download_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(ref, kind, folder)
        except TimeoutError:
            raise DeadlineExceeded(f"fetching the media took longer than {seconds:g} s") from None

    async def _fetch(self, ref: str, kind: MediaKind | None, folder: Path) -> Path:
        if ref.startswith("/"):
            if (path := await self.stored_path(ref)) is not None:
                return await self._object(self._files, "", path, kind, folder)
            return await asyncio.to_thread(self._shared, ref, kind)
        scheme = _SCHEME.match(ref)
        match scheme[1].lower() if scheme else "":
            case "data":
                return await self._inline(ref, kind, folder)
            case "http" | "https":
                if found := await self._files.resolve(ref):
                    return await self._object(*found, kind, folder)
                return await self._web(ref, kind, folder)
            case "s3":
                bucket, _, path = ref[5:].partition("/")
                return await self._object(self._files, bucket, path, kind, folder)
            case _ if "://" in ref or ref.lower().startswith("file:"):
                raise PathRefused(
                    "a media reference is an object path, s3://, http(s)://, data: or a shared path"
                )
        return await self._object(self._files, "", ref, kind, folder)

    def _limit(self, kind: MediaKind | None, name: str) -> int:
        return self._settings.limit_bytes(kind or kind_of(name))

    def _target(self, folder: Path, name: str) -> Path:
        parent = folder / str(next(self._numbers))
        parent.mkdir(parents=True)
        return parent / safe_name(name)

    def _shared(self, ref: str, kind: MediaKind | None) -> Path:
        path = self.shared_path(ref)
        if not path.is_file():
            raise FileNotFound(f"there is no file {ref}")
        if path.stat().st_size > (limit := self._limit(kind, path.name)):
            raise too_large(limit)
        return path

    async def stored_path(self, ref: str) -> str | None:
        """Return the object path that an absolute path below the share root stands for; None when it is a path of this machine."""
        below = ref.removeprefix(f"{self._settings.share_root}/")
        if below == ref or ".." in ref.split("/") or await asyncio.to_thread(_is_here, ref):
            return None
        return re.sub(r"/+", "/", below).lstrip("/") or None

    def shared_path(self, ref: str) -> Path:
        """Return where an absolute path really leads. Raises PathRefused when that is under no allowed root."""
        if "\0" in ref:
            raise PathRefused("a path has no control characters")
        if len(ref.encode()) >= _MAX_SHARED_BYTES or any(len(part.encode()) > 255 for part in ref.split("/")):
            raise PathRefused("the path, or a name in it, is longer than any on a disk")
        path = Path(ref).resolve()
        if not any(path.is_relative_to(root.resolve()) for root in self._settings.allowed_roots):
            raise PathRefused(f"{ref} is not under a folder that this node may read")
        return path

    async def _inline(self, ref: str, kind: MediaKind | None, folder: Path) -> Path:
        head = _DATA_URL.match(ref)
        if head is None:
            raise InvalidArgument("a data URL has the form data:<type>;base64,<bytes>")
        body = urllib.parse.unquote_to_bytes(ref[head.end() :])
        if head[3]:
            try:
                body = base64.b64decode(body, validate=True)
            except binascii.Error:
                raise InvalidArgument("the data URL's base64 is not valid") from None
        media_type = head[1] or "text/plain"
        extension = _EXTENSION_BY_TYPE.get(media_type, media_type.partition("/")[2])
        target = self._target(folder, f"inline.{extension}")
        async with Sink(target, self._limit(kind, target.name)) as sink:
            await sink.write(body)
        return target

    async def _object(
        self, files: Files, bucket: str, path: str, kind: MediaKind | None, folder: Path
    ) -> Path:
        file = await files.stat(bucket, checked_object_path(path))
        if file.size_bytes > (limit := self._limit(kind, path)):
            raise too_large(limit)
        target = self._target(folder, path)
        await self._take(files, file, target)
        return target

    async def _take(self, files: Files, file: StoredFile, target: Path) -> None:
        """Bring an object to a new local name, from the cache when it is there."""
        key = file.sha256 or _key("object", file.bucket, file.path, file.etag)
        async with self._cache.one_at_a_time(key):
            if self._cache.link(key, target):
                return
            fresh = self._cache.partial()
            try:
                await files.download(file, fresh)
                self._cache.add(key, fresh, target)
            finally:
                fresh.unlink(missing_ok=True)

    async def _web(self, ref: str, kind: MediaKind | None, folder: Path) -> Path:
        url = self._egress.policy.check_url(ref)
        target = self._target(folder, url.name or "download")
        limit = self._limit(kind, url.name)
        fresh = self._cache.partial()
        linked = False

        def wanted(validator: str) -> bool:
            """Decline the body when the cache has this version of it."""
            nonlocal linked
            linked = bool(validator) and self._cache.link(_key("url", ref, validator), target)
            return not linked

        source = WebSource(self._request(ref), url.host or "", limit)
        try:
            async with Sink(fresh, limit) as sink:
                await source.download(sink, wanted)
            if not linked:
                key = _key("url", ref, source.validator) if source.validator else sink.sha256
                self._cache.add(key, fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
        return target

    def _request(self, url: str) -> Callable[..., AbstractAsyncContextManager[aiohttp.ClientResponse]]:
        return lambda headers: self._egress.request(
            "GET",
            url,
            headers=headers,
            max_redirects=5,
            timeout_seconds=self._settings.download_timeout_seconds,
        )

    async def fetch_folder(self, bucket: str, prefix: str, folder: Path) -> Path:
        """Download every object under a prefix. Raises FileNotFound when there is none, PayloadTooLarge when there are too many."""
        checked_object_path(prefix.rstrip("/"))
        target = self._target(folder, prefix.rstrip("/"))
        target.mkdir()
        limit = self._settings.limit_bytes(MediaKind.ARCHIVE)
        found: list[StoredFile] = []
        total_bytes = 0
        async for file in self._files.list(bucket, prefix):
            found.append(file)
            total_bytes += file.size_bytes
            if len(found) > self._settings.directory_limit_files:
                raise PayloadTooLarge(
                    f"the folder has more than {self._settings.directory_limit_files} files"
                )
            if total_bytes > limit:
                raise too_large(limit)
        if not found:
            raise FileNotFound(f"there is no file under {prefix!r}")
        await self._take_all(found, prefix, target)
        return target

    async def _take_all(self, found: list[StoredFile], prefix: str, target: Path) -> None:
        turns = asyncio.Semaphore(_PARALLEL_DOWNLOADS)

        async def take(file: StoredFile) -> None:
            local = target / checked_object_path(file.path.removeprefix(prefix))
            local.parent.mkdir(parents=True, exist_ok=True)
            async with turns:
                await self._take(self._files, file, local)

        for start in range(0, len(found), 256):
            batch = [asyncio.ensure_future(take(file)) for file in found[start : start + 256]]
            try:
                await asyncio.gather(*batch)
            finally:
                for task in batch:
                    task.cancel()
                await asyncio.gather(*batch, return_exceptions=True)


def _is_here(ref: str) -> bool:
    """Say whether something lies at a path of this machine, whatever it is and wherever it leads."""
    try:
        return os.path.lexists(ref)
    except ValueError:  # a control character
        return True


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
