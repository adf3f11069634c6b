"""MediaRef: the type of an input or output field that names media, wherever it lives."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import StringConstraints, WithJsonSchema

from runtime.json_pointer import escaped


class MediaKind(enum.Enum):
    """What a media file is; decides how large an input of it may be."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    SUBTITLE = "subtitle"
    TEXT = "text"
    DATA = "data"
    ARCHIVE = "archive"
    UNKNOWN = "unknown"


class MediaMark:
    """Marks a field as media; found again in a model's annotations by `nodekit.schema`."""


MAX_REF_LENGTH = 256 * 1024
"""A task's whole input may have 256 KiB, so no reference (a `data:` URL is the longest) can be longer."""

_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_REF_LENGTH, "format": "media-ref"}

MediaRef = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_REF_LENGTH), MediaMark(), WithJsonSchema(_SCHEMA)
]
"""One of: an object path (`task-1/audio.wav`; a folder of objects ends in `/`), `s3://bucket/key`, an http(s) URL, a `data:` URL,
or an absolute path under a shared folder that the node allows (`/share/...`)."""

FolderRef = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_REF_LENGTH),
    MediaMark(),
    WithJsonSchema({**_SCHEMA, "x-takes": "folder"}),
]
"""A MediaRef to many files: a folder, or an archive of one. Its schema says so, and a client knows where an archive goes."""

_EXTENSIONS = {
    MediaKind.VIDEO: "mp4 avi mov mkv webm m4v ts flv mpg mpeg wmv ogv 3gp",
    MediaKind.AUDIO: "wav mp3 flac aac m4a ogg oga opus wma aiff",
    MediaKind.IMAGE: "jpg jpeg png webp bmp gif tif tiff",
    MediaKind.SUBTITLE: "srt vtt ass ssa",
    MediaKind.TEXT: "txt md",
    MediaKind.DATA: "json jsonl csv",
    MediaKind.ARCHIVE: "zip tar gz tgz",
}
_KIND_BY_EXTENSION = {
    extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()
}


def source_of(ref: str) -> str:
    """Tell in a word where media lie, without saying which: `object`, `shared`, `data`, `s3`, `http`."""
    scheme = ref[:8].partition(":")[0].lower() if ":" in ref[:8] else ""
    if scheme in ("data", "s3"):
        return scheme
    if scheme in ("http", "https"):
        return "http"
    return "shared" if ref.startswith("/") else "object"


def kind_of(name: str) -> MediaKind:
    """Tell the kind of a file by its name; UNKNOWN when the extension says nothing."""
    return _KIND_BY_EXTENSION.get(PurePosixPath(name).suffix.lower().lstrip("."), MediaKind.UNKNOWN)


def pointer_to(ref: str, value: object) -> str | None:
    """Return the JSON pointer of the first place in an input that has a reference (`/images/2`); None: nowhere."""
    if isinstance(value, str):
        return "" if value == ref else None
    if isinstance(value, dict):
        places: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        places = enumerate(value)
    else:
        return None
    for name, inner in places:
        if (rest := pointer_to(ref, inner)) is not None:
            return f"/{escaped(name)}{rest}"
    return None
