"""/v1/files: list, describe, link and delete stored files. Bytes go through `routes.transfers`."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from gateway.access import file_caller
from gateway.clients.backend import FILESTORE
from gateway.http.answer import answer
from gateway.http.model import NoQuery
from gateway.http.query import path_part, read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, SETTINGS, base_url
from gateway.settings import Scope
from gateway.use.instants import instant
from gateway.v1 import file_presenter as files
from gateway.v1.answers import files as answers
from gateway.v1.requests import BucketQuery, DirectoryQuery, ListFilesQuery, UrlQuery
from runtime.errors import FileNotFound, YiVideoError
from yivideo.file.v1 import file_pb2

_HOUR_SECONDS = 3600


async def list_files(request: web.Request) -> web.StreamResponse:
    """List files under a prefix, in path order."""
    query = read_query(request, ListFilesQuery)
    prefix = path_part(request, "prefix") if "prefix" in request.match_info else ""
    backend = request.app[BACKEND]
    wanted = file_pb2.ListFilesRequest(
        bucket=query.bucket,
        prefix=prefix,
        recursive=query.recursive,
        page_size=query.page_size,
        page_token=query.page_token,
        caller=file_caller(request),
    )
    page = await backend.read(backend.files.ListFiles, wanted)
    return answer(
        answers.FilePage(
            prefix=prefix,
            bucket=await backend.default_bucket.named(query.bucket),
            files=[files.file_info(file) for file in page.files],
            prefixes=list(page.prefixes),
            total_count=len(page.files),
            next_page_token=page.next_page_token,
        )
    )


async def file_exists(request: web.Request) -> web.StreamResponse:
    """Say whether a file exists."""
    query = read_query(request, BucketQuery)
    path = path_part(request)
    backend = request.app[BACKEND]
    wanted = file_pb2.StatFileRequest(bucket=query.bucket, path=path, caller=file_caller(request))
    try:
        found = await backend.read(backend.files.StatFile, wanted)
    except FileNotFound:
        bucket = await backend.default_bucket.named(query.bucket)
        return answer(answers.FileExistsAnswer(file_path=path, bucket=bucket, exists=False))
    return answer(answers.FileExistsAnswer(file_path=path, bucket=found.file.bucket, exists=True))


async def file_url(request: web.Request) -> web.StreamResponse:
    """Make a URL that downloads a file without a key until it expires. 404 when there is no such file."""
    query = read_query(request, UrlQuery)
    path = path_part(request)
    backend = request.app[BACKEND]
    wanted = file_pb2.PresignFileRequest(
        bucket=query.bucket,
        path=path,
        expires_seconds=query.expires_hours * _HOUR_SECONDS,
        caller=file_caller(request),
    )
    made = await backend.read(backend.files.PresignFile, wanted)
    return answer(
        answers.FileUrl(
            file_path=path,
            bucket=await backend.default_bucket.named(query.bucket),
            download_url=base_url(request) + made.url if made.url.startswith("/") else made.url,
            expires_in_hours=query.expires_hours,
            expires_at=instant(made.expire_time),
        )
    )


async def delete_file(request: web.Request) -> web.StreamResponse:
    """Delete one file. 404 when there is no such file."""
    query = read_query(request, BucketQuery)
    backend = request.app[BACKEND]
    wanted = file_pb2.DeleteFileRequest(
        bucket=query.bucket, path=path_part(request), caller=file_caller(request)
    )
    gone = (await backend.change(backend.files.DeleteFile, wanted, service=FILESTORE)).file
    return answer(
        answers.DeleteFileAnswer(
            success=True, message="The file was deleted.", file_path=gone.path, file_size=gone.size_bytes
        )
    )


async def delete_directory(request: web.Request) -> web.StreamResponse:
    """Delete one's own files below a folder of the shared root; deleting nothing is a success. 403 outside the root."""
    query = read_query(request, DirectoryQuery)
    prefix = files.object_prefix(query.directory_path, request.app[SETTINGS].share_root)
    backend = request.app[BACKEND]
    wanted = file_pb2.DeleteFilesRequest(bucket=query.bucket, prefix=prefix, caller=file_caller(request))
    done = await backend.change(backend.files.DeleteFiles, wanted, service=FILESTORE)
    message = (
        f"{done.deleted_count} files were deleted." if done.deleted_count else "There was nothing to delete."
    )
    if done.failed_paths:
        message = f"{done.deleted_count} files were deleted, {len(done.failed_paths)} or more could not be."
    return answer(
        answers.DeleteFileAnswer(
            success=not done.failed_paths,
            message=message,
            file_path=query.directory_path,
            file_size=done.deleted_bytes,
            deleted_count=done.deleted_count,
            failed_paths=list(done.failed_paths),
        )
    )


async def files_health(request: web.Request) -> web.StreamResponse:
    """Describe the store, and say whether it answers; 503 when it does not."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    try:
        store = await backend.read(backend.files.GetStorage, file_pb2.GetStorageRequest())
    except YiVideoError:
        store = file_pb2.GetStorageResponse(backend="unknown", healthy=False)
    shown = answers.FilesHealth(
        status="healthy" if store.healthy else "unhealthy",
        backend=store.backend,
        minio_host=store.endpoint,
        default_bucket=store.default_bucket,
        used_bytes=store.used_bytes,
        file_count=store.file_count,
        quota_bytes=store.quota_bytes,
        timestamp=datetime.now(UTC),
    )
    return answer(shown, status=200 if store.healthy else 503)


ROUTES = (
    Route(method="GET", path="/v1/files/list", handler=list_files, tag="files", scope=Scope.FILES,
          query=ListFilesQuery, answers={200: answers.FilePage}),
    Route(method="GET", path="/v1/files/list/{prefix:.*}", handler=list_files, tag="files", scope=Scope.FILES,
          query=ListFilesQuery, answers={200: answers.FilePage}),
    Route(method="GET", path="/v1/files/exists/{path:.+}", handler=file_exists, tag="files", scope=Scope.FILES,
          query=BucketQuery, answers={200: answers.FileExistsAnswer}),
    Route(method="GET", path="/v1/files/url/{path:.+}", handler=file_url, tag="files", scope=Scope.FILES,
          query=UrlQuery, answers={200: answers.FileUrl}, faults=(404,)),
    Route(method="GET", path="/v1/files/health", handler=files_health, tag="files", scope=Scope.FILES,
          answers={200: answers.FilesHealth, 503: answers.FilesHealth}),
    Route(method="DELETE", path="/v1/files/directories", handler=delete_directory, tag="files",
          scope=Scope.FILES, query=DirectoryQuery, answers={200: answers.DeleteFileAnswer}),
    Route(method="DELETE", path="/v1/files/{path:.+}", handler=delete_file, tag="files", scope=Scope.FILES,
          query=BucketQuery, answers={200: answers.DeleteFileAnswer}, faults=(404,)),
)  # fmt: skip
