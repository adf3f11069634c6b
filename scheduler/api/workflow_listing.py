"""Lists of workflows, newest first, page by page."""

from __future__ import annotations

from runtime.errors import InvalidArgument, WorkflowNotFound
from scheduler.api.page_token import PageTokens
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.workflow_presenter import to_workflow
from scheduler.queue.workflow_store import WorkflowStore
from yivideo.task.v1 import task_pb2, workflow_pb2

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 100
_MOST_LOOKED_AT = 200


class WorkflowListing:
    """Reads listings."""

    def __init__(self, redis: RedisLink, keys: Keys, workflows: WorkflowStore, tokens: PageTokens) -> None:
        self._redis = redis
        self._keys = keys
        self._workflows = workflows
        self._tokens = tokens

    async def page(self, request: workflow_pb2.ListWorkflowsRequest) -> workflow_pb2.ListWorkflowsResponse:
        """Return a page. Raises InvalidArgument for a foreign page token or a bad page size."""
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {_LARGEST_PAGE}")
        size = request.page_size or _DEFAULT_PAGE
        wanted = set(request.states) - {task_pb2.TASK_STATE_UNSPECIFIED}
        bound = workflow_pb2.ListWorkflowsRequest(user=request.user, states=request.states)
        conditions = b"workflows\0" + bound.SerializeToString(deterministic=True)
        cursor = self._tokens.read(conditions, request.page_token)
        index = self._keys.user_workflows(request.user) if request.user else self._keys.workflows
        top = "+inf" if cursor is None else str(cursor[0])
        (entries,) = await self._redis.read(
            lambda pipe: pipe.zrevrangebyscore(
                index, top, "-inf", start=0, num=_MOST_LOOKED_AT, withscores=True
            )
        )
        answer = workflow_pb2.ListWorkflowsResponse()
        for raw, score in entries:
            place = (int(score), raw.decode())
            if cursor is not None and place >= cursor:
                continue
            if len(answer.workflows) == size:
                answer.next_page_token = self._tokens.make(conditions, cursor or (0, ""))
                return answer
            cursor = place
            try:
                stored = await self._workflows.load(
                    place[1].removeprefix("workflow/"), request.user, brief=True
                )
            except WorkflowNotFound:
                continue
            shown = to_workflow(stored, brief=True)
            if not wanted or shown.state in wanted:
                answer.workflows.append(shown)
        if len(entries) == _MOST_LOOKED_AT and cursor is not None:
            answer.next_page_token = self._tokens.make(conditions, cursor)
        return answer
