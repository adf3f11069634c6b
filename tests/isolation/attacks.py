"""Every route of the gateway, and what a user tries there with another user's things.

A route stands here by what it is about. One that stands nowhere fails `test_routes.py`: whoever adds it says here what a stranger
can try with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.http.route import Route
from gateway.settings import Scope
from tests.isolation.conftest import SECRET

TASK = "archive-1"


@dataclass(frozen=True)
class Attack:
    """One request that names another user's thing."""

    method: str
    path: str
    statuses: frozenset[int]
    """What it may be answered."""
    more: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)


def attack(route: Route, path: str, *statuses: int, **more: Any) -> Attack:
    """Write an attack on a route."""
    return Attack(route.method, path, frozenset(statuses), more)


def _of_task(route: Route) -> list[Attack]:
    body = {"json": {"force": True}} if route.path.endswith("/delete") else {}
    at = route.path.replace("{task_id}", TASK).replace("{workflow_id}", TASK)
    return [attack(route, at, 404, **body)]


def _of_file(route: Route) -> list[Attack]:
    at = route.path.replace("{path:.+}", SECRET)
    wrong = {200} if "/exists/" in route.path else {404}
    if route.method == "PUT":
        return [
            attack(route, at, 403, data=b"evil"),
            attack(route, at, 403, 409, data=b"evil", headers={"If-None-Match": "*"}),
        ]
    ranged = [attack(route, at, *wrong, 404, headers={"Range": "bytes=0-3"})] if "/download/" in at else []
    return [attack(route, at, *wrong), attack(route, f"{at}?bucket=yivideo", *wrong), *ranged]


def _signed(route: Route) -> list[Attack]:
    at = route.path.replace("{path:.+}", SECRET)
    body = {"data": b"evil"} if route.method == "PUT" else {}
    return [attack(route, f"{at}?bucket=yivideo&token={token}", 403, **body) for token in ("x.y", "e30.AAAA")]


def _listing(route: Route) -> list[Attack]:
    paths = [route.path.replace("{prefix:.*}", prefix) for prefix in ("", "archive-1/", "archive-1/f")]
    return [
        attack(route, f"{path}?recursive={recursive}", 200)
        for path in dict.fromkeys(paths)
        for recursive in ("true", "false")
    ]


def _upload(route: Route) -> list[Attack]:
    form = "--b\r\nContent-Disposition: form-data; name={}\r\n\r\n{}\r\n"
    file, path = form.format('file; filename="x"', "evil"), form.format("file_path", SECRET)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return [
        attack(route, f"{route.path}?file_path={SECRET}", 403, data=f"{file}--b--\r\n", headers=headers),
        attack(route, route.path, 403, data=f"{path}{file}--b--\r\n", headers=headers),
        attack(route, route.path, 403, data=f"{file}{path}--b--\r\n", headers=headers),
    ]


def _compose(route: Route) -> list[Attack]:
    """Another user's file as a part is not there; another user's path is taken."""
    return [
        attack(route, route.path, 404, json={"file_path": "mine/all", "parts": [SECRET]}),
        attack(route, route.path, 404, json={"file_path": SECRET, "parts": ["mine/part"]}),
    ]


def _folder(route: Route) -> list[Attack]:
    return [attack(route, f"{route.path}?directory_path=/share/archive-1", 200)]


def _tasks(route: Route) -> list[Attack]:
    return [
        attack(route, route.path, 200),
        attack(route, f"{route.path}?user=alice", 403),
        attack(route, f"{route.path}?workflow_id={TASK}", 200),
    ]


def _submit(route: Route) -> list[Attack]:
    values = {"video_path": "data:audio/wav;base64,UklGRg=="}
    body = {"task_name": "ffmpeg.extract_audio", "task_id": TASK, "input_data": values}
    return [
        attack(route, route.path, 409, json=body),
        attack(route, route.path, 400, 422, json=body | {"task_id": "mine", "user": "alice"}),
    ]


def _batch(route: Route) -> list[Attack]:
    """A task in a batch is a submission like any other: refused, item by item."""
    values = {"video_path": "data:audio/wav;base64,UklGRg=="}
    body = {"task_name": "ffmpeg.extract_audio", "task_id": TASK, "input_data": values}
    return [
        attack(route, route.path, 200, json={"tasks": [body]}),
        attack(route, route.path, 200, json={"tasks": [body | {"task_id": "mine", "user": "alice"}]}),
    ]


def _bulk(route: Route) -> list[Attack]:
    """Several at once: another user's are reported as not there, whatever names them."""
    return [
        attack(route, route.path, 200, 404, json={"task_ids": [TASK]}),
        attack(route, route.path, 200, json={"where": {"workflow_id": TASK}}),
        attack(route, route.path, 403, json={"where": {"user": "alice"}}),
    ]


def _feed(route: Route) -> list[Attack]:
    return [attack(route, f"{route.path}?user=alice", 403)]


def _nothing(route: Route) -> list[Attack]:
    """It names nothing that is anybody's."""
    return []


OWN = {
    "POST /v1/tasks": _submit,
    "POST /v1/tasks:batch": _batch,
    "GET /v1/tasks": _tasks,
    "POST /v1/tasks/cancel": _bulk,
    "POST /v1/tasks/delete": _bulk,
    "GET /v1/events": _feed,
    "POST /v1/webhooks/ping": _nothing,
    "GET /v1/tasks/health": _nothing,
    "GET /v1/task-types": _nothing,
    "GET /v1/tasks/supported-tasks": _nothing,
    "GET /v1/files/list": _listing,
    "GET /v1/files/list/{prefix:.*}": _listing,
    "GET /v1/files/health": _nothing,
    "POST /v1/files/upload": _upload,
    "POST /v1/files/compose": _compose,
    "DELETE /v1/files/directories": _folder,
    "GET /v1/files/presigned/{path:.+}": _signed,
    "HEAD /v1/files/presigned/{path:.+}": _signed,
    "PUT /v1/files/presigned/{path:.+}": _signed,
    "GET /v1/models": _nothing,
    "GET /v1/models/{model}": _nothing,
    "POST /v1/audio/transcriptions": _nothing,
    "POST /v1/audio/translations": _nothing,
    "POST /v1/audio/speech": _nothing,
}
"""Routes that need a word of their own. The audio endpoints name no files: what they store lies below a random id."""

OPEN = {
    "GET /healthz", "GET /readyz", "GET /metrics", "GET /test", "POST /test", "GET /openapi.json", "GET /docs",
    "GET /docs/{name}", "GET /v1/monitoring/openapi.json", "GET /v1/audio/openapi.json",
}  # fmt: skip
"""Routes that anybody may ask and that tell nothing of anybody's."""


def attacks(route: Route) -> list[Attack] | None:
    """Return what a stranger tries on a route; None for one that nobody has thought about."""
    name = f"{route.method} {route.path}"
    if name in OWN:
        return OWN[name](route)
    if route.scope is None:
        return [] if name in OPEN else None
    if route.scope == Scope.OPERATIONS:
        at = route.path.replace("{task_id}", TASK).replace("{device}", "gpu-0").replace("{key_id}", "0" * 12)
        return [attack(route, at, 403)]
    if route.path.startswith(("/v1/tasks/{task_id}", "/v1/workflows/{workflow_id}")):
        return _of_task(route)
    if route.path.startswith("/v1/workflows"):
        return []  # the scheduler behind this house has none; test_another_users_workflow_does_not_exist attacks a real one
    if route.path.startswith("/v1/files/") and route.path.endswith("{path:.+}"):
        return _of_file(route)
    return None
