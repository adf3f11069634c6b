"""What clients of /v1/workflows send: three bodies of one submission, told apart by their fields, and queries."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, RootModel, model_validator

from gateway.http.model import Body, Query
from gateway.v1.requests import TASK_NAME_PATTERN, Callback, LabelText, SubmitTask, TaskId

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TemplateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class WorkflowTaskBody(SubmitTask):
    """One task of a workflow. Its `depends_on`, and `${{ tasks.<key>.output.<field> }}` in its input, name keys of the others."""

    key: Key = ""
    """What the others call it; default: the second part of the task name."""
    input_data: dict[str, Any] = Field(default_factory=dict)
    """The task's input; fields that earlier tasks of the workflow make may be left out."""


class _Shared(Body):
    """What every form of a workflow's submission may have."""

    workflow_id: TaskId | None = None
    """Your id of the workflow; the same id and the same request never run twice. Without it, one is made."""
    callback: Callback | None = None
    """http(s) URL that gets one signed result of the whole."""
    labels: dict[LabelText, LabelText] = Field(default_factory=dict, max_length=16)
    """Free words."""


class SubmitWorkflow(_Shared):
    """Asks for tasks that run as one."""

    tasks: list[WorkflowTaskBody] = Field(min_length=1, max_length=100)
    """The tasks; what does not wait for another runs side by side."""


class SubmitTemplate(_Shared):
    """Asks for a workflow that is ready made; GET /v1/workflows/templates lists them."""

    template: TemplateName
    """Which one."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Its parameters."""


class WorkflowConfig(Body):
    """The first YiVideo's chain."""

    workflow_chain: list[Annotated[str, Field(pattern=TASK_NAME_PATTERN)]] = Field(
        min_length=1, max_length=100
    )
    """Task types in order; each waits for the one before it."""


class SubmitChain(_Shared):
    """Asks for a chain of tasks as the first YiVideo did. A field named like a task type has that task's parameters."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    workflow_config: WorkflowConfig
    """The chain."""
    video_path: str | None = None
    """Given to each task that takes a `video_path`."""
    execution_mode: Literal["full", "retry"] = "full"
    """`full`: a new workflow; `retry`: the one of this workflow_id goes on from what failed. `incremental` is not offered."""
    param_merge_strategy: Literal["merge", "override", "strict"] = "merge"
    """Accepted for clients of the first YiVideo; nothing is left to merge with."""

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for name, value in (self.__pydantic_extra__ or {}).items():
            if name not in self.workflow_config.workflow_chain or not isinstance(value, dict):
                raise ValueError(f"{name[:64]} is not a field of this request, nor a task type of the chain")
        return self

    def parameters_of(self, task_name: str) -> dict[str, Any]:
        """Return the parameters that the body has for a task type."""
        return dict((self.__pydantic_extra__ or {}).get(task_name, {}))


class WorkflowBody(RootModel[SubmitWorkflow | SubmitTemplate | SubmitChain]):
    """A workflow: its tasks, a template with parameters, or the first YiVideo's chain."""


class RetryWorkflowBody(Body):
    """From where a workflow goes on."""

    from_tasks: list[Key] = Field(default_factory=list, max_length=100)
    """Keys of tasks that run again although they completed, with all that depends on them."""


class ListWorkflowsQuery(Query):
    """Which workflows to list."""

    status: list[str] = Field(default_factory=list, max_length=16)
    """Statuses or states; repeat it, or separate them by commas. Default: any."""
    user: str = Field("", max_length=64)
    """Only this user's; needs the scope `operations` for another than oneself."""
    page_size: int = Field(20, ge=1, le=100)
    """Workflows a page."""
    page_token: str = Field("", max_length=2048)
    """`next_page_token` of the page before, with the same conditions."""
