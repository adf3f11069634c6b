"""/v1/files: the bytes. Uploads (form and raw), downloads with ranges, and links that need no key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from aiohttp import web

from gateway.access import file_caller
from gateway.http.answer import answer
from gateway.http.body_stream import pieces, reading
from gateway.http.conditions import not_modified, resolved_range
from gateway.http.errors import UNDER_WAY
from gateway.http.kernel_send import send_range
from gateway.http.multipart import FormReader, boundary_of
from gateway.http.query import path_part, read_query
from gateway.http.range_header import content_disposition, content_range, http_date, quoted
from gateway.http.route import Content, Route
from gateway.installation import BACKEND, SETTINGS, base_url
from gateway.settings import Scope
from gateway.use.transfer import Download, uploading
from gateway.v1 import file_presenter as files
from gateway.v1.answers.files import UploadAnswer
from gateway.v1.requests import BucketQuery, PresignedQuery, UploadQuery
from gateway.v1.upload_form import FORM_SCHEMA, UploadForm
from results.file_links import download_link
from runtime.errors import InvalidArgument, PayloadTooLarge, RangeRefused, YiVideoError
from yivideo.file.v1 import file_pb2

_LINK_SECONDS = 86_400
_CHECKSUM = "X-Want-Checksum"
"""No query parameter: a gateway that does not know it passes over a header."""
_CONDITIONS = frozenset({"If-None-Match", "If-Modified-Since", "If-Range"})
_UNTOLD_TYPES = frozenset({"application/octet-stream", "application/x-www-form-urlencoded"})
"""What HTTP clients send when nobody told them the type."""


@dataclass(frozen=True)
class _Wanted:
    """A file that a request names, and for whom."""

    bucket: str
    path: str
    caller: file_pb2.Caller
    name: str = ""
    """What a browser saves it as; empty: its own name."""
    task_id: str = ""


async def upload_form(request: web.Request) -> web.StreamResponse:
    """Upload one file as multipart/form-data.

    The part is named `file`; `file_path` and `bucket` are form fields, in any order, or query parameters. Bytes are stored as they
    arrive: a file that comes before its path gets its name in the end, and is nowhere to be seen until then.
    """
    query = read_query(request, UploadQuery)
    settings = request.app[SETTINGS]
    _require_plain(request)
    reader = FormReader(
        reading(request, settings.stalled_client_seconds),
        boundary_of(request.headers.get("Content-Type", "")),
    )
    form = UploadForm(file_path=query.file_path, bucket=query.bucket)
    part = await form.until_file(reader)
    header = file_pb2.UploadHeader(
        bucket=form.bucket,
        path=form.file_path,
        content_type=_content_type(part.content_type),
        caller=file_caller(request),
        want_crc32=_wants_crc32(request),
    )
    if form.named_last:
        header.named_last = True
        header.ClearField("bucket")
    expected = request.content_length or 0
    limit = settings.max_upload_bytes
    async with uploading(request.app[BACKEND], header, expected, limit, content_field="/file") as upload:
        await upload.send(reader.content())
        await form.after_file(reader)
        file = await (upload.finish(form.bucket, form.file_path) if form.named_last else upload.finish())
    return answer(files.uploaded(file, await _download_url(request, file), upload.crc32))


async def upload_raw(request: web.Request) -> web.StreamResponse:
    """Upload one file as the body itself. `If-None-Match: *` refuses to replace an existing one with 409."""
    query = read_query(request, BucketQuery)
    header = file_pb2.UploadHeader(
        bucket=query.bucket,
        path=path_part(request),
        caller=file_caller(request),
        want_crc32=_wants_crc32(request),
    )
    file, crc32 = await _store_body(request, header)
    return answer(files.uploaded(file, await _download_url(request, file), crc32))


async def _store_body(
    request: web.Request, header: file_pb2.UploadHeader
) -> tuple[file_pb2.File, int | None]:
    """Store the body, whose file and owner the header names; returns its CRC-32 besides where the header wants it."""
    settings = request.app[SETTINGS]
    _require_plain(request)
    size = request.content_length or 0
    if size > settings.max_upload_bytes:
        raise PayloadTooLarge(f"the file is larger than {settings.max_upload_bytes} bytes")
    header.content_type = _content_type(request.headers.get("Content-Type", ""))
    header.size_bytes = size
    header.if_absent = request.headers.get("If-None-Match", "").strip() == "*"
    async with uploading(request.app[BACKEND], header, size, settings.max_upload_bytes) as upload:
        await upload.send(pieces(reading(request, settings.stalled_client_seconds)))
        return await upload.finish(), upload.crc32


def _wants_crc32(request: web.Request) -> bool:
    return request.headers.get(_CHECKSUM, "").strip().lower() == "crc32"


def _content_type(given: str) -> str:
    """Return what the client says the file is; nothing when it only says "bytes", so that the store looks at the name."""
    return "" if given.partition(";")[0].strip().lower() in _UNTOLD_TYPES else given


def _require_plain(request: web.Request) -> None:
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise InvalidArgument("send the file as it is, without Content-Encoding")


async def _download_url(request: web.Request, file: file_pb2.File) -> str:
    """Return a signed link; the plain address when this store cannot sign, because the upload has succeeded anyway."""
    backend = request.app[BACKEND]
    wanted = file_pb2.PresignFileRequest(
        bucket=file.bucket, path=file.path, expires_seconds=_LINK_SECONDS, caller=file_caller(request)
    )
    try:
        url = (await backend.read(backend.files.PresignFile, wanted)).url
    except YiVideoError:
        url = download_link(file.bucket, file.path)
    return base_url(request) + url if url.startswith("/") else url


async def download(request: web.Request) -> web.StreamResponse:
    """Download a file, or one range of it (`Range`, `If-Range`); 416 for a range outside it, 304 by `If-None-Match`.

    307 leads to the object store itself where that has an address for clients.
    """
    query = read_query(request, BucketQuery)
    wanted = _Wanted(query.bucket, path_part(request), file_caller(request))
    if not _CONDITIONS & request.headers.keys():  # which the store may understand otherwise
        backend = request.app[BACKEND]
        link = file_pb2.PresignFileRequest(
            bucket=wanted.bucket,
            path=wanted.path,
            download_name=wanted.path.rpartition("/")[2],
            caller=wanted.caller,
        )
        if url := await backend.redirects.location(backend.files, link):
            headers = {"Location": url, "Cache-Control": "no-store"}
            return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)
    return await _send(request, wanted)


async def describe(request: web.Request) -> web.StreamResponse:
    """Say in headers what a download would send, without sending it."""
    query = read_query(request, BucketQuery)
    return await _describe(request, _Wanted(query.bucket, path_part(request), file_caller(request)))


def _update_time(file: file_pb2.File) -> datetime:
    return file.update_time.ToDatetime(tzinfo=UTC)


async def _stat(request: web.Request, wanted: _Wanted) -> file_pb2.File:
    backend = request.app[BACKEND]
    asked = file_pb2.StatFileRequest(bucket=wanted.bucket, path=wanted.path, caller=wanted.caller)
    return (await backend.read(backend.files.StatFile, asked)).file


def _headers(file: file_pb2.File, download_name: str) -> dict[str, str]:
    name = download_name or file.path.rpartition("/")[2]
    return {
        "Content-Type": file.content_type or "application/octet-stream",
        "Content-Disposition": content_disposition(name),
        "ETag": quoted(file.etag),
        "Last-Modified": http_date(file.update_time.ToDatetime()),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }


async def _describe(request: web.Request, wanted: _Wanted) -> web.StreamResponse:
    file = await _stat(request, wanted)
    headers = _headers(file, wanted.name)
    if not_modified(request, file.etag, _update_time(file)):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = file.size_bytes
    return response


async def _send(request: web.Request, wanted: _Wanted) -> web.StreamResponse:
    file: file_pb2.File | None = None
    if _CONDITIONS & request.headers.keys():
        file = await _stat(request, wanted)
        if not_modified(request, file.etag, _update_time(file)):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=_headers(file, wanted.name))
    known = (None, None) if file is None else (file.etag, _update_time(file))
    part = resolved_range(request, *known)
    ask = file_pb2.DownloadRequest(bucket=wanted.bucket, path=wanted.path, caller=wanted.caller)
    if part is not None:
        ask.offset_bytes, ask.length_bytes = part.offset_bytes, part.length_bytes
        if file is not None and "If-Range" in request.headers:
            ask.if_range_etag = file.etag
    stalled = request.app[SETTINGS].stalled_client_seconds
    try:
        if part is not None and part.empty:
            raise RangeRefused("the range is empty")
        async with Download(request.app[BACKEND], ask, stalled) as sent:
            header = sent.header
            response = web.StreamResponse(headers=_headers(header.file, wanted.name))
            changed = ask.if_range_etag and ask.if_range_etag != header.file.etag
            if part is not None and header.length_bytes and not changed:
                response.set_status(HTTPStatus.PARTIAL_CONTENT)
                response.headers["Content-Range"] = content_range(
                    header.offset_bytes, header.length_bytes, header.file.size_bytes
                )
            response.content_length = header.length_bytes
            await response.prepare(request)
            request[UNDER_WAY] = response
            await sent.send(response.write, partial(send_range, request))
            await response.write_eof()
            return response
    except RangeRefused:
        size = (await _stat(request, wanted)).size_bytes
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"}) from None


async def _verified(request: web.Request, method: file_pb2.PresignMethod.ValueType) -> _Wanted:
    """Return what a signed link names. It is done for whom the link was made, by what they may do now."""
    query = read_query(request, PresignedQuery)
    path = path_part(request)
    backend = request.app[BACKEND]
    wanted = file_pb2.VerifyPresignedRequest(bucket=query.bucket, path=path, method=method, token=query.token)
    good = await backend.read(backend.files.VerifyPresigned, wanted)
    return _Wanted(query.bucket, path, good.caller, good.download_name, good.task_id)


async def presigned_download(request: web.Request) -> web.StreamResponse:
    """Download a file by a signed link, which needs no key. 403 when the link is wrong or has expired."""
    return await _send(request, await _verified(request, file_pb2.PRESIGN_METHOD_GET))


async def presigned_describe(request: web.Request) -> web.StreamResponse:
    """Say in headers what a signed link would send."""
    return await _describe(request, await _verified(request, file_pb2.PRESIGN_METHOD_GET))


async def presigned_upload(request: web.Request) -> web.StreamResponse:
    """Upload a file by a signed link, which needs no key. 403 when the link is wrong or has expired."""
    wanted = await _verified(request, file_pb2.PRESIGN_METHOD_PUT)
    header = file_pb2.UploadHeader(
        bucket=wanted.bucket, path=wanted.path, caller=wanted.caller, task_id=wanted.task_id
    )
    file, _ = await _store_body(request, header)
    return answer(files.uploaded(file, download_link(file.bucket, file.path, base_url(request))))


_BYTES = Content("application/octet-stream")
_FORM = Content("multipart/form-data", FORM_SCHEMA)
_RANGE = {
    "Range": "One range, `bytes=0-99`, `bytes=100-` or `bytes=-100`; several are answered with the whole file.",
    "If-Range": "ETag or Last-Modified of what you have a part of; if the file has changed, all of it is sent.",
    "If-None-Match": "ETag of what you have: 304 when the file is still that.",
}
_CHECKED = {
    _CHECKSUM: "`crc32`: the answer says the CRC-32 of the bytes that came, to be held against what was sent."
}
_ONLY_NEW = {"If-None-Match": "`*`: refuse with 409 instead of replacing a file."}
_DOWN = "/v1/files/download/{path:.+}"
_SIGNED = "/v1/files/presigned/{path:.+}"

ROUTES = (
    Route(method="POST", path="/v1/files/upload", handler=upload_form, tag="files", scope=Scope.FILES,
          query=UploadQuery, body=_FORM, answers={200: UploadAnswer}, headers=_CHECKED, faults=(413, 507)),
    Route(method="GET", path=_DOWN, handler=download, tag="files", scope=Scope.FILES, query=BucketQuery,
          answers={200: _BYTES, 206: _BYTES, 304: None, 307: None}, headers=_RANGE, faults=(404, 416)),
    Route(method="HEAD", path=_DOWN, handler=describe, tag="files", scope=Scope.FILES, query=BucketQuery,
          answers={200: None, 304: None}, faults=(404,)),
    Route(method="GET", path=_SIGNED, handler=presigned_download, tag="files", scope=None,
          query=PresignedQuery, answers={200: _BYTES, 206: _BYTES, 304: None}, headers=_RANGE, faults=(403, 404, 416)),
    Route(method="HEAD", path=_SIGNED, handler=presigned_describe, tag="files", scope=None,
          query=PresignedQuery, answers={200: None, 304: None}, faults=(403, 404)),
    Route(method="PUT", path=_SIGNED, handler=presigned_upload, tag="files", scope=None, query=PresignedQuery,
          body=_BYTES, answers={200: UploadAnswer}, faults=(403, 413, 507)),
    Route(method="PUT", path="/v1/files/{path:.+}", handler=upload_raw, tag="files", scope=Scope.FILES,
          query=BucketQuery, body=_BYTES, answers={200: UploadAnswer}, headers=_ONLY_NEW | _CHECKED, faults=(409, 413, 507)),
)  # fmt: skip
