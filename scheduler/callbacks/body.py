"""The exact bytes of a callback, the same for every delivery of it, whichever process makes them."""

from __future__ import annotations

from functools import partial

import orjson

from results.callback_formats import callback_content
from results.file_links import download_link
from scheduler.queue.presenter import StoredTask, to_task


def to_body(stored: StoredTask, *, public_url: str) -> bytes:
    """Return the body in the format that the task asked for.

    `public_url` begins the file URLs; empty: the bare object path is the URL.
    """
    link = partial(download_link, base=public_url) if public_url else _bare_path
    # Protobuf gives the keys of a map in another order in each process, and a repetition must be the same request.
    return orjson.dumps(callback_content(to_task(stored), link), option=orjson.OPT_SORT_KEYS)


def _bare_path(_: str, path: str) -> str:
    return path
