"""What a disk says, in our errors."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from runtime.errors import DiskFull, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the disk says into our errors; no path of this machine gets into their texts."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull("the store's disk is full") from error
        raise Unavailable(f"the store's disk failed: {os.strerror(error.errno or errno.EIO)}") from error
