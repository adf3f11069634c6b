"""Ways of carrying a film: straight to a folder, straight to S3, through `/v1/files`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from minio import Minio

from bench.files.film import MIB, Hashed
from tests.s3 import radosgw

CHUNK_BYTES = MIB
S3_PART_BYTES = 10 * MIB
BOUNDARY = "bench-boundary-7f3a"
BUCKET = "yivideo"


class Way(Protocol):
    """One way of carrying the film; each call ends when the bytes are safe."""

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Store what the source has."""

    def down(self, target: Hashed, path: str) -> None:
        """Fetch it into the target."""

    def remove(self, path: str) -> None:
        """Forget it."""


class Folder:
    """Straight to a folder: written, synced, renamed; read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Write aside, sync, put into place, as any careful program does."""
        aside = self._root / "aside"
        with aside.open("wb", buffering=0) as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
            os.fsync(file.fileno())
        aside.rename(self._root / path)

    def down(self, target: Hashed, path: str) -> None:
        """Read."""
        with (self._root / path).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                target.write(chunk)

    def remove(self, path: str) -> None:
        """Unlink."""
        (self._root / path).unlink()


class Direct:
    """Straight to S3 with the `minio` library and its own parallel multipart upload."""

    def __init__(self, server: radosgw.S3Server) -> None:
        self._client = Minio(
            f"{server.host}:{server.port}",
            server.access_key,
            server.secret_key,
            secure=False,
            region="us-east-1",
        )

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Put the object."""
        reader: Any = source
        self._client.put_object(BUCKET, path, reader, size, part_size=S3_PART_BYTES)

    def down(self, target: Hashed, path: str) -> None:
        """Get the object."""
        answer = self._client.get_object(BUCKET, path)
        try:
            for chunk in answer.stream(CHUNK_BYTES):
                target.write(chunk)
        finally:
            answer.close()
            answer.release_conn()

    def remove(self, path: str) -> None:
        """Delete the object."""
        self._client.remove_object(BUCKET, path)


class Gateway:
    """Through `/v1/files`: a multipart form up, a plain GET down."""

    def __init__(self, address: str) -> None:
        self._address = address

    @contextlib.contextmanager
    def _connection(self, address: str = "") -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(address or self._address, timeout=300)
        try:
            yield connection
        finally:
            connection.close()

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Post the form that `curl -F` posts, and check the checksum in the answer."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n'
            "Content-Type: video/mp4\r\n\r\n"
        ).encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        with self._connection() as connection:
            connection.putrequest("POST", f"/v1/files/upload?file_path={path}")
            connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
            connection.putheader("Content-Length", str(len(head) + size + len(tail)))
            connection.endheaders(head)
            while chunk := source.read(CHUNK_BYTES):
                connection.send(chunk)
            connection.send(tail)
            answer = connection.getresponse()
            body = answer.read()
        stored = json.loads(body).get("sha256")
        if answer.status not in (200, 201) or stored != source.sha256:
            raise RuntimeError(f"upload answered {answer.status}: {body[:500]!r}")

    def down(self, target: Hashed, path: str) -> None:
        """Get the file, from where a redirect leads if there is one."""
        self._get(target, "", f"/v1/files/download/{path}")

    def _get(self, target: Hashed, address: str, path: str) -> None:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        with self._connection(address) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status == http.HTTPStatus.TEMPORARY_REDIRECT and not address:
                link = urlsplit(answer.headers["Location"])
                self._get(target, link.netloc, f"{link.path}?{link.query}")
                return
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"download answered {answer.status}: {answer.read()[:500]!r}")
            while count := answer.readinto(buffer):
                target.write(buffer[:count])

    def remove(self, path: str) -> None:
        """Delete the file."""
        with self._connection() as connection:
            connection.request("DELETE", f"/v1/files/{path}")
            if connection.getresponse().status != http.HTTPStatus.OK:
                raise RuntimeError("delete was refused")

    def ready(self) -> bool:
        """Whether gateway and filestore answer."""
        with self._connection() as connection, contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v1/files/list?recursive=true")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False
