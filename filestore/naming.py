"""The name of a file whose upload names it last: its form had the file before the fields."""

from __future__ import annotations

from dataclasses import replace

from filestore.backend import NewFile
from runtime.errors import InvalidArgument
from yivideo.file.v1 import file_pb2


class Naming:
    """The name of a file that comes with the trailer of its upload."""

    def __init__(self) -> None:
        self._file: NewFile | None = None
        self._name: tuple[str, str] | None = None

    def of(self, file: NewFile) -> NewFile:
        """Return the file as one that is named last."""
        if file.bucket or file.path:
            raise InvalidArgument.at("/path", "comes with the trailer, as `named_last` says")
        self._file = file
        return replace(file, named=self._named)

    def take(self, trailer: file_pb2.UploadTrailer | file_pb2.UploadInPlaceTrailer) -> None:
        """Take the name; raises InvalidArgument for one that was not announced."""
        if self._file is None and (trailer.bucket or trailer.path):
            raise InvalidArgument.at("/trailer/path", "the file was named by the header already")
        self._name = (trailer.bucket, trailer.path)

    def _named(self) -> NewFile:
        assert self._file is not None
        bucket, path = self._name or ("", "")
        return replace(self._file, bucket=bucket, path=path)
