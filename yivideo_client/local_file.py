"""Local files as they are sent: which can be, and what their names are in the store."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import FileIO
from pathlib import Path

_NOT_IN_THE_STORE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff\\/]")
"""What no path of the store has (filestore/names.py): control characters, bytes that are no text, separators."""


def opened(path: Path) -> FileIO:
    """Open a plain file for reading. Raises IsADirectoryError, and OSError for pipes and devices, whose length nobody knows."""
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "a folder cannot be sent", str(path))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "only plain files can be sent: this has no length", str(path))
    return path.open("rb", buffering=0)


def is_stream(text: str) -> bool:
    """Tell whether a text is the path of a pipe, a terminal or a device, which is read to its end and has no length."""
    try:
        kind = Path(text).stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or stat.S_ISSOCK(kind)


def check_not_empty(path: Path) -> None:
    """Raise OSError for a file without a byte: the store takes none, over REST or gRPC, but as the output of a task."""
    if path.is_file() and not path.stat().st_size:
        raise nothing_to_send(path)


def nothing_to_send(name: Path | str) -> OSError:
    """Make the error of what has no byte."""
    return OSError(errno.EINVAL, "the file is empty, and no such file is stored", str(name))


def is_file_here(text: str) -> bool:
    """Tell whether a text is the path of a local file; links and `data:` that are too long for a path are none."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def name_in_store(name: str) -> str:
    """Return a local file's name with `_` for each character that the store does not take."""
    return _NOT_IN_THE_STORE.sub(
        "_", os.fsencode(name).decode(errors="replace") if not name.isascii() else name
    )


def folder_to_write(folder: Path) -> None:
    """Raise NotADirectoryError or PermissionError where a folder is not, or could not be made, for files to be put into."""
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this folder cannot be written to", str(there))
