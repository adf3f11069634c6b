"""GET /v1/models: the names that the audio endpoints take, as far as a node is there that serves them."""

from __future__ import annotations

from aiohttp import web

from gateway.http.answer import answer
from gateway.http.model import Answer, NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.openai import speech, transcriptions
from gateway.settings import Scope
from runtime.errors import FieldViolation, NotFound
from yivideo.task.v1 import task_pb2


class ModelInfo(Answer):
    """One name."""

    id: str
    """What a request's `model` says."""
    object: str = "model"
    """Always `model`."""
    created: int
    """Always 0: nobody knows."""
    owned_by: str
    """The node that serves it."""


class ModelList(Answer):
    """All names."""

    object: str
    """Always `list`."""
    data: list[ModelInfo]
    """The names."""


_SERVED = {
    transcriptions.TASK_NAME: transcriptions.STOCK_MODELS,
    speech.TASK_NAME: (*speech.STOCK_MODELS, *speech.ENGINES),
}


async def _models(request: web.Request) -> list[ModelInfo]:
    backend = request.app[BACKEND]
    found = await backend.read(backend.tasks.ListQueues, task_pb2.ListQueuesRequest())
    running = {queue.node for queue in found.queues if queue.replica_count}
    return [
        ModelInfo(id=name, object="model", created=0, owned_by=node)
        for task_name, names in _SERVED.items()
        if (node := task_name.partition(".")[0]) in running
        for name in names
    ]


async def list_models(request: web.Request) -> web.StreamResponse:
    """List the names of models that can be asked for now. Whisper models of the store may be named too."""
    read_query(request, NoQuery)
    return answer(ModelList(object="list", data=await _models(request)))


async def show_model(request: web.Request) -> web.StreamResponse:
    """Show one model; 404 when no node serves it."""
    read_query(request, NoQuery)
    name = request.match_info["model"]
    for model in await _models(request):
        if model.id == name:
            return answer(model)
    detail = "is served by no node here"
    raise NotFound(f"the model {name!r} {detail}", fields=[FieldViolation("/model", detail)])


ROUTES = (
    Route(method="GET", path="/v1/models", handler=list_models, tag="models", scope=Scope.TASKS,
          answers={200: ModelList}),
    Route(method="GET", path="/v1/models/{model}", handler=show_model, tag="models", scope=Scope.TASKS,
          answers={200: ModelInfo}, faults=(404,)),
)  # fmt: skip
