"""The form of an upload: one file and, around it, where it goes."""

from __future__ import annotations

from gateway.http.multipart import FormReader, Part
from runtime.errors import InvalidArgument

FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file_path": {
            "type": "string",
            "description": "Target path; also as a query parameter.",
        },
        "bucket": {"type": "string", "description": "Bucket; default: the store's own."},
        "file": {"type": "string", "format": "binary", "description": "The file."},
    },
}
"""JSON Schema of the form, for OpenAPI."""

_FIELDS = ("file_path", "bucket")
_FILE = "file"


class UploadForm:
    """Collects the fields, in any order; query parameters come first and a form field may only repeat them."""

    def __init__(self, *, file_path: str, bucket: str) -> None:
        self._values = {"file_path": file_path, "bucket": bucket}
        self.named_last = False
        """Whether the file began before its path was known."""

    @property
    def file_path(self) -> str:
        """Where the file goes."""
        return self._values["file_path"]

    @property
    def bucket(self) -> str:
        """Which bucket; empty: the default one."""
        return self._values["bucket"]

    async def until_file(self, reader: FormReader) -> Part:
        """Read the fields before the file; raises InvalidArgument when there is no file."""
        while (part := await reader.next_part()) is not None:
            if part.name == _FILE:
                self.named_last = not self.file_path
                return part
            await self._take(part, reader, fixed=False)
        raise InvalidArgument.at("/file", "is missing: the form has no part of this name")

    async def after_file(self, reader: FormReader) -> None:
        """Read what follows the file: its name, or fields that say the same again; raises InvalidArgument.

        A bucket that comes behind a file whose path was known already is refused: the file is in another one by then.
        """
        while (part := await reader.next_part()) is not None:
            if part.name == _FILE:
                raise InvalidArgument.at("/file", "comes twice; upload one file a request")
            await self._take(part, reader, fixed=not self.named_last)
        if not self.file_path:
            raise InvalidArgument.at("/file_path", "is missing: the form has no part of this name")

    async def _take(self, part: Part, reader: FormReader, *, fixed: bool) -> None:
        if part.name not in _FIELDS:
            raise InvalidArgument.at(f"/{part.name[:64]}", "is not a field of this form")
        value = await reader.text()
        known = self._values[part.name]
        if value != known and (known or fixed):
            raise InvalidArgument.at(
                f"/{part.name}", "is given twice with different values, or after the file"
            )
        self._values[part.name] = value
