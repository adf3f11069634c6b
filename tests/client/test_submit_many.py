"""Many tasks by few requests: each accepted once, however requests break and whatever the server has room for."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.client.conftest import ScriptedServer, broken_off
from yivideo_client import ApiError, AsyncClient, Task, errors, submitting


def accepted(index: int, body: dict[str, Any], *, reused: bool = False) -> dict[str, Any]:
    task = {"task_id": body["task_id"], "status": "pending", "state": "pending", "message": "accepted"}
    if reused:
        task["reuse_info"] = {"reuse_hit": True}
    status = 200 if reused else 202
    return {"index": index, "http_status": status, "task_id": body["task_id"], "task": task, "error": None}


def refused(index: int, status: int, code: str, wait: float | None = None) -> dict[str, Any]:
    error = {
        "code": code, "message": "no", "errors": [{"pointer": "/task_name", "detail": "bad"}],
        "retry_after_seconds": wait,
    }  # fmt: skip
    return {"index": index, "http_status": status, "task_id": None, "task": None, "error": error}


class Gateway:
    """Accepts tasks; what a test sets goes wrong on the way."""

    def __init__(self, server: ScriptedServer) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.sizes: list[int] = []
        self.room = 10_000
        self.most_bytes = 1 << 30
        self.break_after_storing = 0
        server.handler = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert (request.method, request.path) == ("POST", "/v1/tasks:batch")
        raw = await request.read()
        if len(raw) > self.most_bytes:
            return web.json_response({"code": "PAYLOAD_TOO_LARGE", "detail": "too large"}, status=413)
        given = (await request.json())["tasks"]
        self.sizes.append(len(given))
        results = []
        for index, body in enumerate(given):
            if body["task_name"] == "no.such":
                results.append(refused(index, 400, "UNKNOWN_TASK_TYPE"))
            elif body["task_id"] in self.tasks:
                results.append(accepted(index, body, reused=True))
            elif self.room == 0:
                results.append(refused(index, 429, "TOO_MANY_TASKS", 0.0))
            else:
                self.room -= 1
                self.tasks[body["task_id"]] = body
                results.append(accepted(index, body))
        if self.break_after_storing:
            self.break_after_storing -= 1
            return broken_off(request)
        failed = sum(item["task"] is None for item in results)
        return web.json_response(
            {"accepted": len(given) - failed, "reused": 0, "failed": failed, "results": results}
        )


async def test_each_is_accepted_once_and_told_in_order(server: ScriptedServer, client: AsyncClient) -> None:
    """A request that breaks after it was taken is sent again with the same ids; refusals are their own tasks' alone."""
    gateway = Gateway(server)
    gateway.break_after_storing = 2
    bodies = [{"task_name": "a.b", "input_data": {"n": n}, "labels": {"n": str(n)}} for n in range(1200)]
    bodies[700]["task_name"] = "no.such"
    outcomes = await client.tasks.submit_many(bodies)
    assert len(outcomes) == 1200 and len(gateway.tasks) == 1199
    assert gateway.sizes == [500, 500, 500, 500, 200]
    refusal = outcomes[700]
    assert isinstance(refusal, errors.InvalidRequest) and refusal.code == "UNKNOWN_TASK_TYPE"
    assert refusal.fields[0].pointer == "/task_name"
    for n, outcome in enumerate(outcomes):
        if n != 700:
            assert isinstance(outcome, Task) and outcome.task_name == "a.b"
            assert gateway.tasks[outcome.task_id]["input_data"] == {"n": n}


async def test_what_finds_no_room_is_sent_again_alone(server: ScriptedServer, client: AsyncClient) -> None:
    """A limit lets some in at a time; the rest comes back until nothing moves any more, and is then told as refused."""
    gateway = Gateway(server)
    gateway.room = 30
    answered = gateway.answer

    async def making_room(request: web.Request) -> web.StreamResponse:
        response = await answered(request)
        gateway.room += 20 if len(gateway.tasks) < 70 else 0
        return response

    server.handler = making_room
    outcomes = await client.tasks.submit_many({"task_name": "a.b", "input_data": {}} for _ in range(100))
    assert len(gateway.tasks) == sum(isinstance(one, Task) for one in outcomes) == 70
    assert gateway.sizes[:3] == [100, 70, 50]
    left = [one for one in outcomes if isinstance(one, ApiError)]
    assert len(left) == 30 and {one.code for one in left} == {"TOO_MANY_TASKS"}


async def test_a_request_that_is_too_large_goes_as_two(server: ScriptedServer, client: AsyncClient) -> None:
    """Whatever bound a server has; a single task that is too large is refused by itself."""
    gateway = Gateway(server)
    gateway.most_bytes = 3000
    bodies = [{"task_name": "a.b", "input_data": {"text": "x" * 500}} for _ in range(10)]
    bodies[3]["input_data"] = {"text": "x" * 5000}
    outcomes = await client.tasks.submit_many(bodies)
    assert [isinstance(one, Task) for one in outcomes] == [n != 3 for n in range(10)]
    assert isinstance(outcomes[3], ApiError) and outcomes[3].status == 413
    assert await client.tasks.submit_many([]) == []


def test_batches_are_bounded_by_bytes() -> None:
    """What is held in memory and sent at once does not grow with the tasks."""
    bodies = [{"task_name": "a.b", "input_data": {"text": "x" * 100_000}} for _ in range(100)]
    batches = list(submitting._batches(bodies))
    assert sum(map(len, batches)) == 100 and max(map(len, batches)) <= 42
