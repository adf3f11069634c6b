"""Laws of the media cache."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nodekit.media.media_cache import MediaCache


def put(cache: MediaCache, key: str, body: bytes, target: Path) -> None:
    partial = cache.partial()
    partial.write_bytes(body)
    cache.add(key, partial, target)


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    """The cache stays within its bytes, and what was used last stays longest."""
    cache = MediaCache(tmp_path / "cache", 250)
    for key in ("a", "b"):
        put(cache, key, bytes(100), tmp_path / f"first-{key}")
    assert cache.link("a", tmp_path / "used")
    put(cache, "c", bytes(100), tmp_path / "first-c")
    assert cache.size_bytes == 200
    assert not cache.link("b", tmp_path / "gone")
    assert cache.link("a", tmp_path / "kept-a")
    assert cache.link("c", tmp_path / "kept-c")


def test_eviction_does_not_take_files_from_their_users(tmp_path: Path) -> None:
    """A linked file keeps its bytes after the cache has dropped it, and nobody can change it."""
    cache = MediaCache(tmp_path / "cache", 100)
    put(cache, "a", b"x" * 80, tmp_path / "mine")
    put(cache, "b", b"y" * 80, tmp_path / "other")
    assert not cache.link("a", tmp_path / "again")
    assert (tmp_path / "mine").read_bytes() == b"x" * 80
    assert (tmp_path / "mine").stat().st_mode & 0o222 == 0


def test_too_large_is_not_kept(tmp_path: Path) -> None:
    """A file larger than the cache is handed over without evicting everything else."""
    cache = MediaCache(tmp_path / "cache", 100)
    put(cache, "a", bytes(50), tmp_path / "a")
    put(cache, "b", bytes(500), tmp_path / "b")
    assert (tmp_path / "b").stat().st_size == 500
    assert cache.link("a", tmp_path / "again")
    assert cache.size_bytes == 50


def test_a_new_process_takes_over(tmp_path: Path) -> None:
    """What an earlier process kept is found again, oldest first to go; its unfinished downloads are removed."""
    cache = MediaCache(tmp_path / "cache", 1000)
    for number, key in enumerate(("old", "new")):
        put(cache, key, bytes(100), tmp_path / key)
        os.utime(tmp_path / "cache" / key, (1000 + number, 1000 + number))
    cache.partial().write_bytes(b"half")
    again = MediaCache(tmp_path / "cache", 150)
    assert again.size_bytes == 100
    assert not again.link("old", tmp_path / "old-again")
    assert again.link("new", tmp_path / "new-again")
    assert len(list((tmp_path / "cache").iterdir())) == 1


async def test_one_fetch_at_a_time(tmp_path: Path) -> None:
    """Tasks that need the same thing fetch it once; others do not wait for them."""
    cache = MediaCache(tmp_path / "cache", 1000)
    fetched: list[int] = []

    async def need(number: int, key: str) -> None:
        async with cache.one_at_a_time(key):
            target = tmp_path / f"{key}-{number}"
            if not cache.link(key, target):
                fetched.append(number)
                await asyncio.sleep(0.01)
                put(cache, key, b"x", target)

    await asyncio.gather(*(need(number, "same") for number in range(10)))
    assert fetched == [0]
    await asyncio.gather(*(need(number, f"key{number}") for number in range(3)))
    assert fetched == [0, 0, 1, 2]
