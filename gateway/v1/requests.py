"""What clients of /v1 send: bodies and query parameters, checked before anything else happens."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator
from yarl import URL

from gateway.http.model import Body, Query
from gateway.use.tasks import TASK_ID_PATTERN

TASK_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$"
MAX_CALLBACK_LENGTH = 2048
MAX_WEEK_SECONDS = 604_800

TaskId = Annotated[str, Field(pattern=TASK_ID_PATTERN)]
LabelText = Annotated[str, Field(max_length=64)]


def _callback(value: str) -> str:
    try:
        url = URL(value)
        host = url.host
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("must begin with http:// or https:// and name a host")
    return value


Callback = Annotated[str, Field(max_length=MAX_CALLBACK_LENGTH), AfterValidator(_callback)]


class RetryPolicyBody(Body):
    """When and how often a failed attempt is tried again."""

    max_attempts: int = Field(1, ge=1, le=20)
    """Attempts in all; 1: no retry."""
    initial_delay_seconds: float = Field(1.0, ge=0, le=86_400)
    """Wait before the second attempt."""
    backoff_factor: float = Field(2.0, ge=1, le=10)
    """How many times longer each further wait is."""
    max_delay_seconds: float = Field(300.0, ge=0, le=MAX_WEEK_SECONDS)
    """Longest wait."""
    retryable_codes: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=32)
    """Error codes that are tried again; empty: those that say they are retryable."""


class SubmitTask(Body):
    """Asks for one task."""

    task_name: str = Field(pattern=TASK_NAME_PATTERN)
    """Task type, `<node>.<method>`, for example `ffmpeg.extract_audio`; GET /v1/task-types lists them."""
    input_data: dict[str, Any]
    """The task's input; its fields are those of the task type."""
    task_id: TaskId | None = None
    """Your id of the task; the same id and the same request never run twice. Without it, one is made."""
    callback: Callback | None = None
    """http(s) URL that gets the signed result."""
    callback_format: str = Field("", max_length=64)
    """Form of what the URL gets: `yivideo`, which is the default, is `{task_id, status, result, minio_files, timestamp}`."""
    priority: int = Field(0, ge=-100, le=100)
    """Order among your own tasks; higher first."""
    delay_seconds: float | None = Field(None, ge=0, le=31_536_000)
    """Start this long after the submission; instead of `start_time`."""
    start_time: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """Do not start before; RFC 3339 with a zone."""
    timeout_seconds: int | None = Field(None, ge=1, le=MAX_WEEK_SECONDS)
    """Longest run of one attempt; default: the task type's own."""
    start_deadline: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """Fail instead of starting after this; RFC 3339 with a zone."""
    retry_policy: RetryPolicyBody | None = None
    """What happens when an attempt fails; default: no retry."""
    depends_on: list[TaskId] = Field(default_factory=list, max_length=100)
    """Ids of tasks that must have completed first."""
    workflow_id: TaskId | None = None
    """Tasks with one workflow_id see each other's outputs as `${{ stages.<task name>.output.<field> }}`; default:
    the task's own id. One task among several of a name is meant by `${{ tasks.<task_id>.output.<field> }}`."""
    smart_source: bool = True
    """Whether a task with a workflow_id gets fields that it leaves out, such as `audio_path`, from the workflow's earlier tasks."""
    labels: dict[LabelText, LabelText] = Field(default_factory=dict, max_length=16)
    """Free words; GET /v1/tasks filters on them."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.delay_seconds is not None and self.start_time is not None:
            raise ValueError("give delay_seconds or start_time, not both")
        return self


class DeleteTaskBody(Body):
    """How to delete a task."""

    force: bool = False
    """Cancel it first when it has not ended."""


class ListTasksQuery(Query):
    """Which tasks to list; conditions are joined by AND."""

    status: list[str] = Field(default_factory=list, max_length=16)
    """Statuses or states; repeat it, or separate them by commas. Default: any."""
    task_name: str = Field("", max_length=128)
    """Only this task type."""
    user: str = Field("", max_length=64)
    """Only this user's; needs the scope `operations` for another than oneself."""
    workflow_id: str = Field("", max_length=128)
    """Only this workflow."""
    label: list[Annotated[str, Field(pattern=r"^[^=]{1,64}=.{0,64}$")]] = Field(
        default_factory=list, max_length=16
    )
    """`name=value`; repeat it to ask for several."""
    created_after: AwareDatetime | None = None
    """Accepted at or after this time; RFC 3339."""
    created_before: AwareDatetime | None = None
    """Accepted before this time; RFC 3339."""
    page_size: int = Field(50, ge=1, le=500)
    """Tasks a page."""
    page_token: str = Field("", max_length=2048)
    """`next_page_token` of the page before, with the same conditions."""


class NodeQuery(Query):
    """Narrows an answer to one node."""

    node: str = Field("", max_length=64)
    """Only this node's; default: all."""


class DeadLettersQuery(NodeQuery):
    """Which dead letters to list."""

    page_size: int = Field(50, ge=1, le=500)
    """Tasks a page."""
    page_token: str = Field("", max_length=2048)
    """`next_page_token` of the page before."""


class EventsQuery(Query):
    """Where an event stream begins."""

    after: int = Field(0, ge=0, le=2**31 - 1)
    """Events with a greater sequence only; the header `Last-Event-ID` goes before it."""


class BucketQuery(Query):
    """Names a bucket."""

    bucket: str = Field("", max_length=63)
    """Bucket; default: the store's own."""


class UploadQuery(BucketQuery):
    """Where an upload goes, when its form does not say it."""

    file_path: str = Field("", max_length=1024)
    """Target path."""


class ListFilesQuery(BucketQuery):
    """Which files to list."""

    recursive: bool = True
    """Everything below the prefix, or one level with its folders as `prefixes`."""
    page_size: int = Field(1000, ge=1, le=1000)
    """Files a page."""
    page_token: str = Field("", max_length=4096)
    """`next_page_token` of the page before."""


class DirectoryQuery(BucketQuery):
    """Names a folder."""

    directory_path: str = Field(min_length=1, max_length=1100)
    """Absolute path under the shared root, for example `/share/task-1/keyframes`."""


class UrlQuery(BucketQuery):
    """How long a URL works."""

    expires_hours: int = Field(24, ge=1, le=168)
    """Hours until it expires."""


class PresignedQuery(BucketQuery):
    """What a presigned URL carries."""

    token: str = Field(min_length=1, max_length=4096)
    """Signed permission; made by the filestore."""
