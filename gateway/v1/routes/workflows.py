"""/v1/workflows: submit whole, list, show, cancel, let go on; templates."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.access import file_caller, viewer
from gateway.clients.backend import Backend
from gateway.http.answer import answer, tagged
from gateway.http.body import checked, read_body, read_json
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, WORKFLOWS
from gateway.settings import Scope
from gateway.templates.catalogue import TEMPLATES
from gateway.templates.expansion import Expanded, expand
from gateway.use import states
from gateway.use.workflows import SeenWorkflow, only_user
from gateway.v1.answers import workflows as answers
from gateway.v1.answers.tasks import ReuseInfo
from gateway.v1.links import links
from gateway.v1.preference import applied, wished_wait_seconds
from gateway.v1.requests import permitted_user
from gateway.v1.routes.tasks import states_in
from gateway.v1.submission import IDEMPOTENCY_HEADER
from gateway.v1.template_presenter import template_info
from gateway.v1.workflow_requests import (
    ListWorkflowsQuery,
    RetryWorkflowBody,
    SubmitChain,
    SubmitTemplate,
    SubmitWorkflow,
    WorkflowBody,
)
from gateway.v1.workflow_submission import (
    Submission,
    chain_tasks,
    in_workflow_terms,
    read_submission,
    to_workflow_spec,
    workflow_id_of,
)
from results.states import TERMINAL, State
from results.workflow_context import instant_text, workflow_context
from runtime.errors import InvalidArgument
from yivideo.task.v1 import task_pb2, workflow_pb2


async def submit_workflow(request: web.Request) -> web.StreamResponse:
    """Submit a workflow: tasks that are stored together or not at all, in one of three forms.

    `tasks` with keys, by which they wait for and refer to each other; a `template` with `parameters`; or the first YiVideo's
    `workflow_config`. 202 when it was accepted, 200 when the same request was made before, or when it ended within
    `Prefer: wait=N`. The same workflow_id with another request, or the id of a task that exists, is refused with 409.
    """
    read_query(request, NoQuery)
    backend, caller, seconds = request.app[BACKEND], viewer(request), wished_wait_seconds(request)
    body = read_submission(await read_json(request))
    workflow_id = workflow_id_of(body, caller.user, request.headers.get(IDEMPOTENCY_HEADER))
    if isinstance(body, SubmitChain) and body.execution_mode == "retry":
        again = await _retry(request, workflow_id, ())
        return _accepted(await _waited(request, again, seconds), "retry", seconds)
    whole, made_by = await _tasks_of(backend, body)
    template = body.template if isinstance(body, SubmitTemplate) else ""
    all_files = file_caller(request).all_files
    try:
        result = TEMPLATES[template].result if template else None
        spec = to_workflow_spec(whole, workflow_id, caller.user, template, result=result, all_files=all_files)
        workflow = await backend.change(
            backend.workflows.SubmitWorkflow, workflow_pb2.SubmitWorkflowRequest(spec=spec)
        )
    except InvalidArgument as error:
        refused = in_workflow_terms(error)
        raise (made_by.in_parameter_terms(refused) if made_by else refused) from None
    return _accepted(await _waited(request, workflow, seconds), "full", seconds)


async def _waited(request: web.Request, workflow: workflow_pb2.Workflow, seconds: int) -> SeenWorkflow:
    return await request.app[WORKFLOWS].wait(viewer(request), workflow, seconds)


async def _tasks_of(backend: Backend, body: Submission) -> tuple[SubmitWorkflow, Expanded | None]:
    if isinstance(body, SubmitTemplate):
        template = TEMPLATES.get(body.template)
        if template is None:
            raise InvalidArgument.at("/template", f"no such template; there are {', '.join(TEMPLATES)}")
        made = expand(template, body.parameters)
        shared = body.model_dump(include={"callback", "labels"})
        return checked(SubmitWorkflow, {"tasks": made.tasks, **shared}), made
    if isinstance(body, SubmitChain):
        listed = await backend.read(backend.tasks.ListTaskTypes, task_pb2.ListTaskTypesRequest())
        return chain_tasks(body, {kind.name: kind for kind in listed.task_types}), None
    return body, None


def _accepted(seen: SeenWorkflow, mode: str, seconds: int) -> web.Response:
    workflow = seen.workflow
    spec, reused = workflow.spec, workflow.reuse.hit
    done = sum(
        task.state in (State.TASK_STATE_COMPLETED, State.TASK_STATE_SKIPPED) for task in workflow.tasks
    )
    shown = answers.WorkflowAccepted(
        workflow_id=spec.workflow_id,
        status=states.STATUS[workflow.state],
        state=states.state_word(workflow.state),
        execution_mode=mode,
        tasks_total=len(workflow.tasks),
        tasks_skipped=done,
        tasks_to_execute=len(workflow.tasks) - done,
        message="The workflow existed already." if reused else _taken(workflow),
        tasks=[
            answers.AcceptedTask(
                key=asked.key,
                task_id=task.spec.task_id,
                task_name=task.spec.task_name,
                state=states.state_word(task.state),
            )
            for asked, task in zip(spec.tasks, workflow.tasks, strict=False)
        ],
    )
    if reused:
        shown.reuse_info = ReuseInfo(reuse_hit=True, task_name="", source=workflow.reuse.source)
        if workflow.state not in TERMINAL:
            shown.reuse_info.state = states.state_word(workflow.state)
    headers = {"Location": f"/v1/workflows/{spec.workflow_id}", **applied(seen, seconds)}
    return answer(shown, status=200 if reused or seen.ended else 202, headers=headers)


def _taken(workflow: workflow_pb2.Workflow) -> str:
    """Say that a workflow was taken; also what nobody is there to run, which most callers would not look for."""
    reasons = (task.waiting_reason for task in workflow.tasks if task.lacks_replica)
    return ": ".join(("The workflow was accepted", *list(dict.fromkeys(reasons))[:1])) + "."


async def show_workflow(request: web.Request) -> web.StreamResponse:
    """Show a workflow with all of its tasks: the first YiVideo's WorkflowContext.

    Tasks that were submitted one by one under a workflow_id are shown by it too. `Prefer: wait=N` waits for its end,
    `If-None-Match` makes asking cheap.
    """
    read_query(request, NoQuery)
    seconds = wished_wait_seconds(request)
    workflow = await request.app[WORKFLOWS].own(viewer(request), request.match_info["workflow_id"])
    seen = await _waited(request, workflow, seconds)
    return tagged(request, answer(context_of(seen.workflow, request), headers=applied(seen, seconds)))


def context_of(workflow: workflow_pb2.Workflow, request: web.Request) -> answers.WorkflowContext:
    """Show a workflow to the client of a request."""
    return answers.WorkflowContext.model_validate(workflow_context(workflow, links(request)))


async def list_workflows(request: web.Request) -> web.StreamResponse:
    """List workflows that were submitted as a whole, newest first."""
    query = read_query(request, ListWorkflowsQuery)
    wanted = workflow_pb2.ListWorkflowsRequest(
        user=permitted_user(viewer(request), query.user),
        states=states_in(query.status),
        page_size=query.page_size,
        page_token=query.page_token,
    )
    backend = request.app[BACKEND]
    page = await backend.read(backend.workflows.ListWorkflows, wanted)
    return answer(
        answers.WorkflowPage(
            workflows=[_summary(one) for one in page.workflows], next_page_token=page.next_page_token
        )
    )


def _summary(workflow: workflow_pb2.Workflow) -> answers.WorkflowSummary:
    counted: dict[str, int] = {}
    for task in workflow.tasks:
        word = states.state_word(task.state)
        counted[word] = counted.get(word, 0) + 1
    return answers.WorkflowSummary(
        workflow_id=workflow.spec.workflow_id,
        user=workflow.spec.user,
        template=workflow.spec.template or None,
        labels=dict(workflow.spec.labels),
        status=states.STATUS[workflow.state],
        state=states.state_word(workflow.state),
        create_at=instant_text(workflow.create_time),
        ended_at=instant_text(workflow.end_time) if workflow.HasField("end_time") else None,
        tasks=counted,
        callback_status=states.callback_status(workflow.callback_status),
    )


async def cancel_workflow(request: web.Request) -> web.StreamResponse:
    """Cancel every task of a workflow that has not ended.

    200 when all of it has ended with that, 202 while process trees are being stopped; `Prefer: wait=N` waits for that. 400 when
    it had ended before.
    """
    read_query(request, NoQuery)
    backend, caller, seconds = request.app[BACKEND], viewer(request), wished_wait_seconds(request)
    wanted = workflow_pb2.CancelWorkflowRequest(
        workflow_id=request.match_info["workflow_id"],
        reason=f"cancelled by {caller.user}",
        user=only_user(caller),
    )
    seen = await _waited(request, await backend.change(backend.workflows.CancelWorkflow, wanted), seconds)
    status = 200 if seen.ended else 202
    return answer(context_of(seen.workflow, request), status=status, headers=applied(seen, seconds))


async def retry_workflow(request: web.Request) -> web.StreamResponse:
    """Let an ended workflow go on: what failed or was cancelled runs again, what completed keeps its result.

    `from_tasks` names tasks that run again although they completed, with all that depends on them. 400 when it has not ended.
    """
    read_query(request, NoQuery)
    body = await read_body(request, RetryWorkflowBody, optional=True)
    workflow_id, seconds = request.match_info["workflow_id"], wished_wait_seconds(request)
    try:
        workflow = await _retry(request, workflow_id, body.from_tasks)
    except InvalidArgument as error:
        raise type(error)(
            error.message.replace("/from_keys", "/from_tasks"),
            fields=[
                type(one)(one.pointer.replace("/from_keys", "/from_tasks"), one.detail)
                for one in error.fields
            ],
        ) from None
    return _accepted(await _waited(request, workflow, seconds), "retry", seconds)


async def _retry(request: web.Request, workflow_id: str, keys: Sequence[str]) -> workflow_pb2.Workflow:
    backend = request.app[BACKEND]
    wanted = workflow_pb2.RetryWorkflowRequest(
        workflow_id=workflow_id,
        from_keys=keys,
        user=only_user(viewer(request)),
        all_files=file_caller(request).all_files,
    )
    return await backend.change(backend.workflows.RetryWorkflow, wanted)


async def list_templates(request: web.Request) -> web.StreamResponse:
    """List the workflows that are ready made, with their parameters and whether this installation has what they need."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    listed = await backend.read(backend.tasks.ListTaskTypes, task_pb2.ListTaskTypesRequest())
    known = {kind.name: kind for kind in listed.task_types}
    return answer(answers.TemplateList(templates=[template_info(one, known) for one in TEMPLATES.values()]))


_WAIT = {"Prefer": "`wait=N`: answer when the workflow has ended, at the latest after N seconds."}
_ONE = "/v1/workflows/{workflow_id}"
_TAG = "workflows"

ROUTES = (
    Route(
        method="POST", path="/v1/workflows", handler=submit_workflow, tag=_TAG, scope=Scope.TASKS, body=WorkflowBody,
        answers={202: answers.WorkflowAccepted, 200: answers.WorkflowAccepted}, faults=(404, 409, 413, 422, 429),
        headers={
            IDEMPOTENCY_HEADER: "Makes a repeated request the same workflow when the body has no workflow_id.", **_WAIT,
        },
    ),
    Route(method="GET", path="/v1/workflows", handler=list_workflows, tag=_TAG, scope=Scope.TASKS,
          query=ListWorkflowsQuery, answers={200: answers.WorkflowPage}),
    Route(method="GET", path="/v1/workflows/templates", handler=list_templates, tag=_TAG, scope=Scope.TASKS,
          answers={200: answers.TemplateList}),
    Route(method="GET", path=_ONE, handler=show_workflow, tag=_TAG, scope=Scope.TASKS,
          answers={200: answers.WorkflowContext, 304: None}, faults=(404,),
          headers={**_WAIT, "If-None-Match": "ETag of an earlier answer: 304 without a body when nothing has changed."}),
    Route(method="DELETE", path=_ONE, handler=cancel_workflow, tag=_TAG, scope=Scope.TASKS,
          answers={200: answers.WorkflowContext, 202: answers.WorkflowContext}, headers=_WAIT, faults=(404,)),
    Route(method="POST", path=_ONE + "/retry", handler=retry_workflow, tag=_TAG, scope=Scope.TASKS,
          body=RetryWorkflowBody, body_optional=True, headers=_WAIT, faults=(404,),
          answers={202: answers.WorkflowAccepted, 200: answers.WorkflowAccepted}),
)  # fmt: skip
