"""/v1/files/compose: a large file out of parts that were uploaded one by one."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from gateway.access import file_caller
from gateway.clients.backend import FILESTORE
from gateway.http.answer import answer
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, base_url
from gateway.settings import Scope
from gateway.v1 import file_presenter as files
from gateway.v1.answers.files import UploadAnswer
from gateway.v1.requests import ComposeBody
from results.file_links import download_link
from yivideo.file.v1 import file_pb2

_SECONDS = 3600.0


async def compose_file(request: web.Request) -> web.StreamResponse:
    """Make one file of parts, in the order given.

    Parts are files like any other: upload them side by side, send again those that broke, then name them here. The file appears
    whole, as an upload does, and replaces what is there unless `only_new` is set (409); a client that leaves before that leaves no
    file. `delete_parts` deletes the parts that were read, not what has replaced one meanwhile. 404: a part is not there. 400: size
    or sha256 do not fit.
    """
    read_query(request, NoQuery)
    body = await read_body(request, ComposeBody)
    wanted = file_pb2.ComposeFileRequest(
        header=file_pb2.UploadHeader(
            bucket=body.bucket,
            path=body.file_path,
            content_type=body.content_type,
            size_bytes=body.size or 0,
            sha256=body.sha256,
            if_absent=body.only_new,
            caller=file_caller(request),
        ),
        parts=body.parts,
        delete_parts=body.delete_parts,
    )
    backend = request.app[BACKEND]
    call = partial(backend.files.ComposeFile, timeout=_SECONDS)
    await backend.connected(FILESTORE)
    # Not `change`: it reads and writes gigabytes, which end, and leave nothing, when nobody waits for the file any more.
    file = (await backend.read(call, wanted)).file
    return answer(files.uploaded(file, download_link(file.bucket, file.path, base_url(request))))


ROUTES = (
    Route(method="POST", path="/v1/files/compose", handler=compose_file, tag="files", scope=Scope.FILES, body=ComposeBody,
          answers={200: UploadAnswer}, faults=(404, 409, 413, 507)),
)  # fmt: skip
