"""One file from an address: in pieces, gone on with after a break, also after the death of whoever fetched it."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from nodekit.models.entry import ModelFile
from nodekit.models.registry import SourceFailed

_CHUNK_BYTES = 1 << 20
_SILENCE_SECONDS = 20.0
"""How long nothing may come."""
_TRIES_WITHOUT_PROGRESS = 3


def download(url: str, file: ModelFile, kept: Path) -> None:
    """Bring `kept` to the file's size; what is in it already stays, where the server can go on from there.

    Never takes more than the size and one byte: a longer answer is another file, which its digest will tell. Raises SourceFailed
    when the source does not answer, ends early time and again, or says no; OSError when it cannot be written here, and then what
    was written is gone, since the room may be wanted for something else.
    """
    tries = 0
    while tries < _TRIES_WITHOUT_PROGRESS:
        before = _size(kept)
        if before >= file.size:
            return
        try:
            _go_on(url, file, kept, before)
        except urllib.error.HTTPError as error:
            raise SourceFailed(f"{file.path}: the server says {error.code} {error.reason}") from None
        except _Broken as broken:
            reason = str(broken)
        else:
            reason = "it ends early"
        tries = 0 if _size(kept) > before else tries + 1
    if _size(kept) < file.size:
        raise SourceFailed(f"{file.path}: {reason}")


class _Broken(Exception):
    """The network or the server failed, and not this machine's disk."""


def _go_on(url: str, file: ModelFile, kept: Path, done: int) -> None:
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the caller has checked its scheme
    try:
        answer = urllib.request.urlopen(request, timeout=_SILENCE_SECONDS)  # noqa: S310
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"{getattr(error, 'reason', error)}") from None
    with answer:
        resumed = done > 0 and answer.status == 206
        left = file.size - (done if resumed else 0)
        try:
            with kept.open("ab" if resumed else "wb") as stream:
                while left >= 0:
                    try:
                        chunk = answer.read(min(_CHUNK_BYTES, left + 1))
                    except (OSError, http.client.HTTPException) as error:
                        raise _Broken(f"{error}") from None
                    if not chunk:
                        return
                    stream.write(chunk)
                    left -= len(chunk)
        except OSError:
            kept.unlink(missing_ok=True)
            raise


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
