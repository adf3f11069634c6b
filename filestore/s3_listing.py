"""Listings of an S3: what the store lists, and of that what is within reach.

A listing tells no owners, so each file is asked for its own, some side by side (docs/adr/0022-files-have-owners.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from minio.xml import unmarshal

from filestore.access import EVERYTHING, Reach
from filestore.backend import FileInfo, FilePage
from filestore.names import content_type_of
from filestore.s3_answers import S3Page
from filestore.s3_head import head
from filestore.s3_wire import S3Refused, S3Wire
from runtime.errors import FileNotFound

_PARALLEL_HEADS = 16
_FOLDER_ROWS = 100
_FOLDER_PAGES = 10
"""A folder is shown to a user when one of the first 1000 files in it is theirs; a recursive listing shows each of theirs anyway."""

_Item = TypeVar("_Item")


async def list_page(
    wire: S3Wire, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str, reach: Reach
) -> FilePage:
    """List one page; `after` is the store's own continuation token. An absent bucket is an empty one."""
    page = await _list_all(wire, bucket, prefix, recursive=recursive, limit=limit, after=after)
    return page if reach == EVERYTHING else await _within(wire, bucket, page, reach)


async def _list_all(
    wire: S3Wire, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str
) -> FilePage:
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit), "prefix": prefix}
    if not recursive:
        query["delimiter"] = "/"
    if after:
        query["continuation-token"] = after
    try:
        _, answer = await wire.call("GET", bucket, query=query)
    except S3Refused as refused:
        if refused.code == "NoSuchBucket":
            return FilePage((), (), "")
        raise refused.to_error() from refused
    page = unmarshal(S3Page, answer.decode())
    files = tuple(
        FileInfo(
            bucket, each.key, each.size_bytes, "", content_type_of(each.key), each.etag, each.update_time, ""
        )
        for each in page.objects
    )
    return FilePage(files, page.prefixes, page.next_token)


async def _within(wire: S3Wire, bucket: str, page: FilePage, reach: Reach) -> FilePage:
    files = await _side_by_side(page.files, lambda info: _taken(wire, info, reach))
    folders = await _side_by_side(page.prefixes, lambda prefix: _holding(wire, bucket, prefix, reach))
    return FilePage(files, folders, page.last)


async def _taken(wire: S3Wire, info: FileInfo, reach: Reach) -> FileInfo | None:
    """Return a listed file, with its owner, when it is within reach."""
    try:
        there = await head(wire, info.bucket, info.path)
    except FileNotFound:
        return None
    found = replace(info, owner=there.owner, task_id=there.task_id)
    return found if reach.takes(found) else None


async def _holding(wire: S3Wire, bucket: str, prefix: str, reach: Reach) -> str | None:
    """Return a folder when one of its first files is within reach."""
    after = ""
    for _ in range(_FOLDER_PAGES):
        page = await _list_all(wire, bucket, prefix, recursive=True, limit=_FOLDER_ROWS, after=after)
        if (await _within(wire, bucket, page, reach)).files:
            return prefix
        after = page.last
        if not after:
            break
    return None


async def _side_by_side(
    items: Iterable[_Item], ask: Callable[[_Item], Awaitable[_Item | None]]
) -> tuple[_Item, ...]:
    """Ask about each, some at the same time; return those that were found, in order."""
    turns = asyncio.Semaphore(_PARALLEL_HEADS)

    async def one(item: _Item) -> _Item | None:
        async with turns:
            return await ask(item)

    asked = [asyncio.ensure_future(one(item)) for item in items]
    try:
        found = await asyncio.gather(*asked)
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return tuple(each for each in found if each is not None)
