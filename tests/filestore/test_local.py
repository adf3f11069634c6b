"""The local store alone: crashes, full disks, damaged contents, links, one process at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from filestore.local import LocalBackend
from filestore.settings import FilestoreSection
from filestore.signing import Grant, PresignMethod
from filestore.store import FileStore
from runtime.errors import DataLoss, FileNotFound, Unavailable
from tests.filestore import crash
from tests.filestore.contents import new_file, pieces, read_all

ROOT = Path(__file__).resolve().parents[2]
BUCKET = crash.BUCKET


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of these tests to its end."""
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


def names_in(folder: Path) -> list[str]:
    """Return the name of everything below a folder."""
    return [path.name for path in folder.rglob("*")]


def blobs_of(root: Path) -> list[Path]:
    """Return every content file of a store."""
    return [path for path in (root / "blobs").rglob("*") if not path.is_dir()]


@pytest.mark.parametrize("step", crash.STEPS)
async def test_a_crash_at_any_step_leaves_the_old_or_the_new_file_whole(tmp_path: Path, step: str) -> None:
    """SIGKILL between any two steps of a replacement: at the next start one whole content is there and no leftovers."""
    died = await asyncio.to_thread(run, [sys.executable, "-m", "tests.filestore.crash", str(tmp_path), step])
    assert died.returncode == -signal.SIGKILL
    store = LocalBackend(tmp_path)
    await store.start(BUCKET)
    try:
        assert await read_all(store, BUCKET, "film") == crash.STEPS[step][1]
        assert len(blobs_of(tmp_path)) == 1
        assert not list((tmp_path / "partial").iterdir())
        assert (await store.usage(BUCKET)).files == 1
    finally:
        await store.aclose()


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    """On a real file system of 12 MiB: refused with or without an announced size, space given back, old files whole."""
    inside = f"mount -t tmpfs -o size=12m tmpfs {tmp_path} && exec {sys.executable} -m tests.filestore.full_disk {tmp_path}"
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces to mount a small file system")
    done = run([*unshare, "sh", "-c", inside])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("held\n")


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second store on the same folder is Unavailable until the first is closed: it would remove the other's uploads."""
    first, second = LocalBackend(tmp_path), LocalBackend(tmp_path)
    await first.start(BUCKET)
    with pytest.raises(Unavailable):
        await second.start(BUCKET)
    await first.put(new_file(BUCKET, "a", b"1"), pieces(b"1"))
    await first.aclose()
    await second.start(BUCKET)
    assert await read_all(second, BUCKET, "a") == b"1"
    await second.aclose()


Damaged = tuple[LocalBackend, Path]


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncIterator[Damaged]:
    """A store with one file, and the path of its content."""
    store = LocalBackend(tmp_path / "store")
    await store.start(BUCKET)
    await store.put(new_file(BUCKET, "film", b"content"), pieces(b"content"))
    [blob] = blobs_of(tmp_path / "store")
    yield store, blob
    await store.aclose()


async def test_links_are_not_followed(damaged: Damaged, tmp_path: Path) -> None:
    """A content file that became a link, even to the same number of bytes, is DataLoss and is not read."""
    store, blob = damaged
    secret = tmp_path / "secret"
    secret.write_bytes(b"secrets")
    blob.unlink()
    blob.symlink_to(secret)
    with pytest.raises(DataLoss, match="link"):
        await read_all(store, BUCKET, "film")
    await store.delete(BUCKET, "film")
    assert secret.read_bytes() == b"secrets"


@pytest.mark.parametrize("damage", ["cut", "grown", "gone", "folder", "fifo"])
async def test_damaged_content_is_told(damaged: Damaged, damage: str) -> None:
    """Content that is not what was stored is DataLoss, never other bytes and never a hang."""
    store, blob = damaged
    if damage in ("gone", "folder", "fifo"):
        blob.unlink()
    if damage == "cut":
        blob.write_bytes(b"cont")
    elif damage == "grown":
        blob.write_bytes(b"content and more")
    elif damage == "folder":
        blob.mkdir()
    elif damage == "fifo":
        os.mkfifo(blob)
    with pytest.raises(DataLoss):
        await read_all(store, BUCKET, "film")


async def test_files_outlive_a_restart(tmp_path: Path) -> None:
    """Contents, descriptions, counts and signed URLs are the same after the store was closed and opened."""
    store = LocalBackend(tmp_path)
    await store.start(BUCKET)
    put = await store.put(
        new_file(BUCKET, "ü/film.mp4", b"content", content_type="video/mp4"), pieces(b"content")
    )
    assert store.signer is not None
    url = store.signer.url(BUCKET, "ü/film.mp4", Grant(PresignMethod.GET, 60))
    await store.aclose()
    again = LocalBackend(tmp_path)
    await again.start(BUCKET)
    assert await again.stat(BUCKET, "ü/film.mp4") == put
    assert await read_all(again, BUCKET, "ü/film.mp4") == b"content"
    assert (await again.usage(BUCKET)).size_bytes == 7
    assert again.signer is not None
    [token] = parse_qs(urlsplit(url).query)["token"]
    assert again.signer.verify(BUCKET, "ü/film.mp4", PresignMethod.GET, token).download_name == ""
    await again.aclose()


async def test_young_uploads_are_not_cleaned(tmp_path: Path) -> None:
    """Cleaning takes what nobody has written to for the given time, and nothing younger."""
    store = LocalBackend(tmp_path)
    await store.start(BUCKET)
    partial = tmp_path / "partial" / "left"
    partial.write_bytes(b"x")
    assert await store.clean(BUCKET, 3600) == 0
    os.utime(partial, (0, 0))
    assert await store.clean(BUCKET, 3600) == 1
    assert not partial.exists()
    await store.aclose()


async def test_the_folder_is_private(tmp_path: Path) -> None:
    """Nobody but the owner can read contents, index or key."""
    store = LocalBackend(tmp_path / "store")
    await store.start(BUCKET)
    await store.put(new_file(BUCKET, "a", b"1"), pieces(b"1"))
    await store.aclose()
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    for blob in blobs_of(tmp_path / "store"):
        assert blob.stat().st_mode & 0o077 == 0
    with pytest.raises(RuntimeError):
        await store.stat(BUCKET, "a")


async def test_a_path_is_no_file_name(tmp_path: Path) -> None:
    """A path and a deeper one below it live side by side, and none of them appears as a name on the disk."""
    store = LocalBackend(tmp_path)
    await store.start(BUCKET)
    for path in ("deep", "deep/er", "x" * 300):
        await store.put(new_file(BUCKET, path, path.encode()), pieces(path.encode()))
        assert await read_all(store, BUCKET, path) == path.encode()
    assert not [name for name in names_in(tmp_path) if "deep" in name or "xxx" in name]
    with pytest.raises(FileNotFound):
        await store.stat(BUCKET, "deep/")
    await store.aclose()


async def test_links_begin_with_the_gateways_address_where_it_is_known(tmp_path: Path) -> None:
    """A link for clients is whole, so that it works in a callback; a link for neighbours stays a path."""
    section = FilestoreSection(default_bucket=BUCKET, gateway_url="https://media.example")
    backend = LocalBackend(tmp_path)
    await backend.start(BUCKET)
    store = FileStore(backend, section)
    for internal, begin in (
        (False, "https://media.example/v1/files/presigned/a"),
        (True, "/v1/files/presigned/a"),
    ):
        made, _ = await store.presign("", "a", Grant(PresignMethod.PUT), internal=internal)
        assert made.url.startswith(begin)
    await backend.aclose()
