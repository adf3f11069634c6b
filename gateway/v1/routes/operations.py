"""What operators look at and put right: callback deliveries, queues, dead letters."""

from __future__ import annotations

from aiohttp import web

from gateway.access import viewer
from gateway.http.answer import answer
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, TASKS
from gateway.settings import Scope
from gateway.use.tasks import valid_task_id
from gateway.v1 import presenter
from gateway.v1.answers import operations as answers
from gateway.v1.answers.tasks import SubmitAnswer, TaskPage, TaskStatus
from gateway.v1.links import links, task_path
from gateway.v1.requests import DeadLettersQuery, NodeQuery, PingBody
from gateway.v1.status_presenter import queue_info
from yivideo.task.v1 import task_pb2


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """List the attempts to deliver a task's callback, oldest first."""
    read_query(request, NoQuery)
    task_id = await request.app[TASKS].require_own(viewer(request), request.match_info["task_id"])
    backend = request.app[BACKEND]
    found = await backend.read(backend.tasks.ListDeliveries, task_pb2.ListDeliveriesRequest(task_id=task_id))
    return answer(answers.Deliveries(task_id=task_id, **presenter.deliveries(found)))


async def redeliver(request: web.Request) -> web.StreamResponse:
    """Send an ended task's callback again, now. 400 when it has not ended or has no callback."""
    read_query(request, NoQuery)
    task_id = await request.app[TASKS].require_own(viewer(request), request.match_info["task_id"])
    backend = request.app[BACKEND]
    wanted = task_pb2.RedeliverCallbackRequest(task_id=task_id)
    task = await backend.change(backend.tasks.RedeliverCallback, wanted)
    return answer(presenter.status(task, links(request)), status=202)


async def ping(request: web.Request) -> web.StreamResponse:
    """Send a signed test body to an address, once, under the rules for callbacks, and say how it went.

    200 also when the receiver refused or was not reached: `http_status` and `error` tell. 400 for an address that this installation
    does not call.
    """
    read_query(request, NoQuery)
    body = await read_body(request, PingBody)
    backend = request.app[BACKEND]
    wanted = task_pb2.PingCallbackRequest(url=body.url, user=viewer(request).user)
    return answer(presenter.delivery(await backend.change(backend.tasks.PingCallback, wanted)))


async def list_queues(request: web.Request) -> web.StreamResponse:
    """Describe every node's queue."""
    query = read_query(request, NodeQuery)
    backend = request.app[BACKEND]
    found = await backend.read(backend.tasks.ListQueues, task_pb2.ListQueuesRequest(node=query.node))
    queues = [queue_info(queue) for queue in found.queues]
    return answer(answers.Queues(queues=queues))


async def list_dead_letters(request: web.Request) -> web.StreamResponse:
    """List the tasks that failed because their workers were lost too often, newest first."""
    query = read_query(request, DeadLettersQuery)
    backend = request.app[BACKEND]
    wanted = task_pb2.ListDeadLettersRequest(
        node=query.node, page_size=query.page_size, page_token=query.page_token
    )
    page = await backend.read(backend.tasks.ListDeadLetters, wanted)
    tasks = [presenter.summary(task) for task in page.tasks]
    return answer(TaskPage(tasks=tasks, next_page_token=page.next_page_token))


async def replay_dead_letter(request: web.Request) -> web.StreamResponse:
    """Put a dead letter back into its queue, under its own id."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    wanted = task_pb2.ReplayDeadLetterRequest(task_id=valid_task_id(request.match_info["task_id"]))
    task = await backend.change(backend.tasks.ReplayDeadLetter, wanted)
    headers = {"Location": task_path(task.spec.task_id)}
    return answer(presenter.submitted(task, links(request)), status=202, headers=headers)


_ONE = "/v1/tasks/{task_id}"

ROUTES = (
    Route(method="GET", path=_ONE + "/deliveries", handler=list_deliveries, tag="callbacks", scope=Scope.TASKS,
          answers={200: answers.Deliveries}, faults=(404,)),
    Route(method="POST", path=_ONE + "/redeliver", handler=redeliver, tag="callbacks", scope=Scope.TASKS,
          answers={202: TaskStatus}, faults=(404,)),
    Route(method="POST", path="/v1/webhooks/ping", handler=ping, tag="callbacks", scope=Scope.TASKS,
          body=PingBody, answers={200: answers.DeliveryInfo}, faults=(429,)),
    Route(method="GET", path="/v1/queues", handler=list_queues, tag="operations", scope=Scope.OPERATIONS,
          query=NodeQuery, answers={200: answers.Queues}),
    Route(method="GET", path="/v1/dead-letters", handler=list_dead_letters, tag="operations",
          scope=Scope.OPERATIONS, query=DeadLettersQuery, answers={200: TaskPage}),
    Route(method="POST", path="/v1/dead-letters/{task_id}/replay", handler=replay_dead_letter, tag="operations",
          scope=Scope.OPERATIONS, answers={202: SubmitAnswer}, faults=(404,)),
)  # fmt: skip
