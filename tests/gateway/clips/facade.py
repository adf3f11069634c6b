"""Another product's REST surface: its own paths, models, error body, sign-in and OpenAPI document, over the gateway's use cases."""

from __future__ import annotations

import json
import uuid

from aiohttp import web
from pydantic import BaseModel

from gateway.http.answer import answer
from gateway.http.application import DRAINING
from gateway.http.body import read_body
from gateway.http.errors import detail_of, standard_headers
from gateway.http.facade import Facade
from gateway.http.model import Answer, Body
from gateway.http.openapi import About, description_route
from gateway.http.origin import BrowserOriginPolicy
from gateway.http.principal import Principal, principal
from gateway.http.route import JSON, Content, Route
from gateway.http.websocket import WebSocket, websocket
from gateway.installation import SETTINGS, TASKS
from gateway.use.states import state_word
from gateway.use.viewer import Viewer
from runtime import errors
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2

SESSION = "clips_session"
"""The cookie; its value is who signed in. A real product would sign it."""


class Failure(BaseModel):
    """What every refusal is."""

    ok: bool
    reason: str


class NewClip(Body):
    """Which film to take the sound from."""

    film: str


class Clip(Answer):
    """A clip that is being made."""

    clip: str
    state: str


class ClipErrors:
    """Writes `{"ok": false, "reason": …}`."""

    media_type = JSON
    model = Failure

    def from_known(self, request: web.BaseRequest, error: errors.YiVideoError) -> web.Response:
        return self._write(error.http_status, error.message, standard_headers(error))

    def from_http(self, request: web.BaseRequest, error: web.HTTPException) -> web.Response:
        return self._write(error.status, detail_of(error), {})

    def _write(self, status: int, reason: str, headers: dict[str, str]) -> web.Response:
        body = json.dumps({"ok": False, "reason": reason}).encode()
        return web.Response(status=status, body=body, content_type=JSON, headers=headers)


class CookieSessions:
    """Knows a caller by a cookie. Browsers send one along by themselves, so what pages of other sites send is refused."""

    def __init__(self, origins: BrowserOriginPolicy) -> None:
        self._origins = origins

    def authenticate(self, request: web.Request, route: Route) -> Principal | None:
        if route.scope is None:
            return None
        user = request.cookies.get(SESSION)
        if not user:
            raise errors.Unauthenticated("sign in first")
        self._origins.check(request)
        return Principal(user)


async def make_clip(request: web.Request) -> web.StreamResponse:
    """Make a clip of a film's sound; 201 with its name, to be watched from then on."""
    body = await read_body(request, NewClip)
    spec = task_pb2.TaskSpec(
        task_id=f"clip-{uuid.uuid4()}",
        task_name="ffmpeg.extract_audio",
        input=to_struct({"video_path": body.film}),
        user=principal(request).user,
    )
    task = (await request.app[TASKS].submit(spec)).task
    return answer(Clip(clip=task.spec.task_id, state=state_word(task.state)), status=201)


async def watch_clip(request: web.Request) -> web.StreamResponse:
    """Send every event of a clip as one JSON message over a WebSocket, and close when the last was sent."""
    settings, viewer = request.app[SETTINGS], Viewer(principal(request).user)
    async with request.app[TASKS].watching(viewer, request.match_info["clip"], 0) as watched:

        async def tell(socket: WebSocket) -> None:
            async for event in watched.events():
                await socket.send({"event": event.WhichOneof("event"), "number": event.sequence})

        return await websocket(
            request,
            tell,
            draining=request.app[DRAINING],
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )


def facade(public_url: str = "") -> Facade:
    """Return the facade."""
    failures = ClipErrors()
    routes = (
        Route(method="POST", path="/clips/api/clips", handler=make_clip, tag="clips", scope="clips",
              body=NewClip, answers={201: Clip}),
        Route(method="GET", path="/clips/api/clips/{clip}/ws", handler=watch_clip, tag="clips", scope="clips",
              answers={101: Content(JSON, {"type": "object"})}, faults=(404,)),
    )  # fmt: skip
    about = About(title="Clips", version="1", description="Sound of films.", public_url=public_url)
    described = description_route("/clips/openapi.json", "clips", about, failures, routes)
    return Facade(
        name="clips",
        routes=(*routes, described),
        prefixes=("/clips",),
        errors=failures,
        principals=CookieSessions(BrowserOriginPolicy((), public_url)),
    )
