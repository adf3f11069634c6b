"""What clients of /v1 send: bodies and query parameters, checked before anything else happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator
from yarl import URL

from gateway.http.model import Body, Query
from gateway.use.batch import MOST_TASKS as MOST_IN_BATCH
from gateway.use.bulk import MOST_TASKS
from gateway.use.tasks import TASK_ID_PATTERN
from gateway.use.viewer import Viewer
from runtime.errors import PermissionDenied

TASK_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$"
LABEL_PATTERN = r"^[^=]{1,64}=.{0,64}$"
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
    when_unavailable: Literal["wait", "refuse"] | None = None
    """What happens when no node replica offers this task type now: it waits for one, or is refused with 409 (NODE_UNAVAILABLE).
    Default: as the installation is set. A task that exists is returned whatever this says."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.delay_seconds is not None and self.start_time is not None:
            raise ValueError("give delay_seconds or start_time, not both")
        return self


class SubmitBatch(Body):
    """Asks for many tasks, each as POST /v1/tasks would be asked for it."""

    tasks: list[SubmitTask] = Field(min_length=1, max_length=MOST_IN_BATCH)
    """The tasks. Each is judged by itself: one that is refused keeps no other from being accepted."""


class DeleteTaskBody(Body):
    """How to delete a task."""

    force: bool = False
    """Cancel it first when it has not ended."""


class PingBody(Body):
    """Which address to try."""

    url: Callback
    """http(s) URL, as a submission's `callback`."""


class TaskFilter(Body):
    """Which tasks are meant; conditions are joined by AND, and there must be one."""

    status: list[Annotated[str, Field(max_length=32)]] = Field(default_factory=list, max_length=16)
    """Statuses or states. Default: all on which it can be done."""
    task_name: str = Field("", max_length=128)
    """Only this task type."""
    user: str = Field("", max_length=64)
    """Only this user's; needs the scope `operations` for another than oneself."""
    workflow_id: str = Field("", max_length=128)
    """Only this workflow."""
    labels: dict[LabelText, LabelText] = Field(default_factory=dict, max_length=16)
    """Only tasks that have all of these."""
    created_after: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """Accepted at or after this time; RFC 3339."""
    created_before: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """Accepted before this time; RFC 3339."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("needs a condition: what would be meant without one is every task")
        return self


class BulkBody(Body):
    """Which tasks something is done to: by their ids, or by conditions."""

    task_ids: list[TaskId] | None = Field(None, min_length=1, max_length=MOST_TASKS)
    """Their ids."""
    where: TaskFilter | None = None
    """What they have in common."""
    limit: int = Field(MOST_TASKS, ge=1, le=MOST_TASKS)
    """With `where`: how many at most; `more` says whether there are others."""

    @model_validator(mode="after")
    def _names_them_once(self) -> Self:
        if (self.task_ids is None) == (self.where is None):
            raise ValueError("give task_ids or where, not both")
        return self


class BulkDeleteBody(BulkBody):
    """Which tasks to delete."""

    force: bool = False
    """Cancel those first that have not ended; with `where`, those are meant too."""


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
    label: list[Annotated[str, Field(pattern=LABEL_PATTERN)]] = Field(default_factory=list, max_length=16)
    """`name=value`; repeat it to ask for several."""
    created_after: AwareDatetime | None = None
    """Accepted at or after this time; RFC 3339."""
    created_before: AwareDatetime | None = None
    """Accepted before this time; RFC 3339."""
    page_size: int = Field(50, ge=1, le=500)
    """Tasks a page."""
    page_token: str = Field("", max_length=2048)
    """`next_page_token` of the page before, with the same conditions."""
    order: Literal["newest", "oldest"] = "newest"
    """By the time they were accepted: newest or oldest first."""
    total: bool = False
    """Whether to count all tasks that fit, over all pages."""


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


CURSOR_PATTERN = r"^[0-9]{1,15}-[0-9]{1,10}$"


def label_map(labels: Sequence[str]) -> dict[str, str]:
    """Return `name=value` texts as a map."""
    return dict(label.split("=", 1) for label in labels)


def permitted_user(caller: Viewer, wanted: str) -> str:
    """Return whose tasks are meant, empty for everybody's; raises PermissionDenied for somebody else's."""
    if caller.sees_all_tasks:
        return wanted
    if wanted and wanted != caller.user:
        raise PermissionDenied("this key sees only its own user's tasks")
    return caller.user


class RevokeKeyQuery(Query):
    """Why a key is revoked."""

    reason: str = Field("", max_length=200)
    """For whoever asks later."""


class FeedQuery(Query):
    """Which tasks' events to stream; conditions are joined by AND."""

    workflow_id: str = Field("", max_length=128)
    """Only this workflow."""
    label: list[Annotated[str, Field(pattern=LABEL_PATTERN)]] = Field(default_factory=list, max_length=16)
    """`name=value`; repeat it to ask for several."""
    user: str = Field("", max_length=64)
    """Only this user's; needs the scope `operations` for another than oneself."""
    kind: list[Annotated[str, Field(max_length=32)]] = Field(default_factory=list, max_length=16)
    """Only events of this name, `completed` for example; repeat it to ask for several. Default: all but heartbeats."""
    after: str = Field("", pattern=r"^([0-9]{1,15}-[0-9]{1,10})?$")
    """`id:` of an event: only what follows it; the header `Last-Event-ID` goes before it. Default: from now on."""


class TaskLogQuery(Query):
    """Which lines of a task's log to show."""

    after: int = Field(0, ge=0, le=2**31 - 1)
    """Lines with a greater sequence only."""
    page_size: int = Field(500, ge=1, le=500)
    """Lines a page."""
    level: Literal["debug", "info", "warning", "error"] = "debug"
    """Lines of this level or a graver one."""


class ComposeBody(Body):
    """Makes one file of parts."""

    file_path: str = Field(min_length=1, max_length=1024)
    """Path of the file to write."""
    parts: list[Annotated[str, Field(min_length=1, max_length=1024)]] = Field(min_length=1, max_length=10_000)
    """Paths of its parts, in order, in the same bucket."""
    bucket: str = Field("", max_length=63)
    """Bucket; default: the store's own."""
    content_type: str = Field("", max_length=128)
    """MIME type; default: by the name."""
    size: int | None = Field(None, ge=0, le=2**63 - 1)
    """Bytes that the whole must have."""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Lower-case hex SHA-256 that the whole must have."""
    only_new: bool = False
    """Refuse with 409 instead of replacing a file."""
    delete_parts: bool = True
    """Delete the parts that are one's own when the file is there."""


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
