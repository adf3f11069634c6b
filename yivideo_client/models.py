"""What the server answers, as far as programs need it; `raw` always has the whole answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from yivideo_client.errors import UnexpectedAnswer

TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled"})
TERMINAL_EVENTS = frozenset({"completed", "failed", "cancelled"})

Json = dict[str, Any]
T = TypeVar("T")


def reads(
    what: str,
) -> Callable[[Callable[[type[T], Mapping[str, Any]], T]], Callable[[type[T], Mapping[str, Any]], T]]:
    """Let a reader of answers raise UnexpectedAnswer for an answer that has not the form of what it reads."""

    def bounded(read: Callable[[type[T], Mapping[str, Any]], T]) -> Callable[[type[T], Mapping[str, Any]], T]:
        @wraps(read)
        def reader(cls: type[T], body: Mapping[str, Any]) -> T:
            try:
                return read(cls, body)
            except (AttributeError, KeyError, TypeError, ValueError) as fault:
                raise UnexpectedAnswer(f"{what} was expected, and something else was answered") from fault

        return reader

    return bounded


def part(answer: Any, name: str) -> Any:
    """Return a field that an answer must have. Raises UnexpectedAnswer."""
    if not isinstance(answer, dict) or name not in answer:
        raise UnexpectedAnswer(f"an answer with the field {name!r} was expected, and something else came")
    return answer[name]


def listed(answer: Any, name: str) -> list[Json]:
    """Return a list of objects that an answer must have. Raises UnexpectedAnswer."""
    found = part(answer, name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UnexpectedAnswer(f"a list of objects was expected as {name!r}, and something else came")
    return found


@dataclass(frozen=True)
class Progress:
    """How far a task is."""

    percent: float
    """0 to 100."""
    stage: str
    message: str
    data: Json = field(default_factory=dict)
    """The task's own figures."""


@dataclass(frozen=True)
class TaskError:
    """Why a task failed."""

    code: str
    message: str
    field: str = ""
    """JSON pointer of the input field at fault; empty: none."""
    retryable: bool = False


@dataclass(frozen=True)
class StoredFile:
    """One file of the store."""

    path: str
    """Usable as a task's input."""
    size: int
    """Bytes."""
    name: str = ""
    """Last part of the path."""
    bucket: str = ""
    """Empty: the store's own."""
    sha256: str = ""
    """Lower-case hex; empty: not known."""
    crc32: str = ""
    """Eight lower-case hex digits, of an upload that asked for it; empty: not known."""
    etag: str = ""
    content_type: str = ""
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    @reads("a file")
    def from_answer(cls, body: Mapping[str, Any]) -> StoredFile:
        """Read it from a task's output, a listing or an upload's answer."""
        path = str(body.get("path") or body["file_path"])
        return cls(
            path=path,
            size=int(body.get("size", 0)),
            name=path.rpartition("/")[2],
            bucket=str(body.get("bucket") or ""),
            sha256=str(body.get("sha256") or ""),
            crc32=str(body.get("crc32") or ""),
            etag=str(body.get("etag") or ""),
            content_type=str(body.get("content_type") or ""),
            raw=dict(body),
        )


@dataclass(frozen=True)
class Task:
    """A task as it was when the server answered."""

    task_id: str
    task_name: str
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state: also blocked, cancelling and skipped."""
    message: str = ""
    output: Json = field(default_factory=dict)
    """Empty until the task has completed."""
    error: TaskError | None = None
    files: tuple[StoredFile, ...] = ()
    """Its stored outputs."""
    progress: Progress | None = None
    reused: bool = False
    """Whether a submission was answered with a task that existed before."""
    raw: Json = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL_STATUSES

    @classmethod
    @reads("a task")
    def from_answer(cls, body: Mapping[str, Any]) -> Task:
        """Read it from the answer of a submission, a status, a record or a list."""
        result = body.get("result") or {}
        detail = result.get("error_detail") or body.get("error")
        progress = body.get("progress")
        return cls(
            task_id=str(body["task_id"]),
            task_name=str(body.get("task_name") or result.get("task_name") or ""),
            status=str(body["status"]),
            state=str(body.get("state") or body["status"]),
            message=str(body.get("message") or ""),
            output=dict(result.get("output") or {}),
            error=task_error(detail) if isinstance(detail, dict) else None,
            files=tuple(StoredFile.from_answer(one) for one in body.get("minio_files") or ()),
            progress=_progress(progress) if isinstance(progress, dict) else None,
            reused=bool((body.get("reuse_info") or {}).get("reuse_hit")),
            raw=dict(body),
        )


@dataclass(frozen=True)
class Event:
    """One thing that happened to a task."""

    name: str
    """accepted, started, progress, log, waiting_for_gpu, retrying, cancelling, gap, completed, failed or cancelled."""
    sequence: int
    """Position to resume after; 0: this one cannot be resumed after."""
    data: Json
    identity: str = ""
    """The stream's own name of that position, which is no number in every stream."""

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self.name in TERMINAL_EVENTS

    @property
    def progress(self) -> Progress | None:
        """How far the task is; None for other events."""
        return _progress(self.data) if self.name == "progress" else None


@dataclass(frozen=True)
class TaskType:
    """One kind of task that the installation knows."""

    name: str
    """`<node>.<method>`."""
    description: str
    input_schema: Json = field(repr=False)
    """JSON Schema (2020-12) of the input."""
    output_schema: Json = field(repr=False)
    media_fields: tuple[str, ...] = ()
    """Input fields that are media, as JSON pointers."""
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    @reads("a task type")
    def from_answer(cls, body: Mapping[str, Any]) -> TaskType:
        """Read it from the list of task types."""
        return cls(
            name=str(body["name"]),
            description=str(body.get("description") or ""),
            input_schema=dict(body.get("input_schema") or {}),
            output_schema=dict(body.get("output_schema") or {}),
            media_fields=tuple(body.get("media_fields") or ()),
            raw=dict(body),
        )


def _progress(body: Mapping[str, Any]) -> Progress:
    return Progress(
        percent=float(body.get("percent") or 0.0),
        stage=str(body.get("stage") or ""),
        message=str(body.get("message") or ""),
        data=dict(body.get("data") or {}),
    )


def task_error(body: Mapping[str, Any]) -> TaskError:
    """Read why a task failed."""
    return TaskError(
        code=str(body.get("code") or ""),
        message=str(body.get("message") or ""),
        field=str(body.get("field") or ""),
        retryable=bool(body.get("retryable")),
    )
