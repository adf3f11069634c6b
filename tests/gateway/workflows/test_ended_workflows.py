"""What is done about a workflow that has ended: deleting it, alone or beside a retry; the log of its callback."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.v1.test_webhooks import validator
from tests.gateway.workflows.conftest import Api, chain, gateway
from tests.scheduler.callbacks.receiver import receiving, section
from tests.scheduler.conftest import Harness
from yivideo.task.v1 import task_pb2

pytestmark = pytest.mark.trial("10.9")


async def test_deletion_takes_tasks_and_record(api: Api) -> None:
    """A running workflow is kept unless forced; then it is stopped, and its tasks, stream and id are gone. Each is reported."""
    await api.call("POST", "/v1/workflows", chain())
    await api.finish("w-audio")
    here = await api.node.arrival("w-cut")
    status, problem = await api.call("POST", "/v1/workflows/w/delete")
    assert (status, problem["code"]) == (400, "WRONG_STATE")
    forced = asyncio.create_task(api.call("POST", "/v1/workflows/w/delete", {"force": True}))
    await here.wait_cancel()
    await here.say(cancelled=task_pb2.TaskCancelled(reason="told"))
    status, report = await forced
    assert (status, report["status"], report["record"]["status"]) == (200, "success", "deleted")
    assert [one["task_id"] for one in report["tasks"]] == ["w-audio", "w-cut"]
    assert {one["report"]["status"] for one in report["tasks"]} == {"success"}
    for path in ("/v1/workflows/w", "/v1/workflows/w/events", "/v1/tasks/w-audio", "/v1/tasks/w-cut"):
        assert (await api.call("GET", path))[0] == 404
    assert (await api.call("GET", "/v1/workflows"))[1]["workflows"] == []
    assert (await api.call("POST", "/v1/workflows/w/delete"))[0] == 404
    status, _ = await api.call("POST", "/v1/workflows", chain())
    assert status == 202, "the id is free again"


async def test_a_workflow_whose_tasks_are_gone_is_deleted(api: Api) -> None:
    """A task that somebody has deleted is no failure; one that runs again keeps the record, and is reported."""
    await api.call("POST", "/v1/workflows", chain())
    await api.finish("w-audio", "w-cut")
    await api.events("w")
    assert (await api.call("POST", "/v1/tasks/w-audio/delete"))[0] == 200
    status, report = await api.call("POST", "/v1/workflows/w/delete")
    assert (status, report["status"]) == (200, "success")
    assert report["tasks"][0]["report"]["results"][0]["message"] == "it was gone already"


async def test_a_deletion_and_a_retry_at_once_leave_no_half_workflow(api: Api) -> None:
    """Whichever comes first holds: the workflow goes on whole, and the deletion is refused; or it is gone, and cannot go on."""
    for number in range(8):
        body = chain(workflow_id=f"race-{number}")
        await api.call("POST", "/v1/workflows", body)
        await api.finish(f"race-{number}-audio")
        await (await api.node.arrival(f"race-{number}-cut")).fail()
        await api.events(f"race-{number}")
        (deleted, report), (retried, _) = await asyncio.gather(
            api.call("POST", f"/v1/workflows/race-{number}/delete"),
            api.call("POST", f"/v1/workflows/race-{number}/retry"),
        )
        if retried == 202:
            assert deleted == 400, report
            await api.finish(f"race-{number}-cut", attempt=2)
            _, context = await api.call("GET", f"/v1/workflows/race-{number}", Prefer="wait=20")
            assert context["status"] == "completed"
        else:
            assert (deleted, report["status"], retried in (400, 404)) == (200, "success", True)


async def test_the_log_of_its_callback(harness: Harness) -> None:
    """Deliveries of a workflow's callback are listed, and it is sent again under the same id."""
    receiver = await harness.stack.enter_async_context(receiving())
    node = await harness.node(slots=20)
    client = await harness.scheduler(callbacks=section())
    api = Api(await harness.stack.enter_async_context(gateway(client.address)), node)
    await api.call("POST", "/v1/workflows", chain(callback=receiver.url))
    assert (await api.call("POST", "/v1/workflows/w/redeliver"))[0] == 400
    await api.finish("w-audio", "w-cut")
    await receiver.wait(1)
    async with asyncio.timeout(10):
        while (await api.call("GET", "/v1/workflows/w/deliveries"))[1]["callback_status"] != "sent":
            await asyncio.sleep(0.02)
    assert (await api.call("POST", "/v1/workflows/w/redeliver"))[0] == 202
    _, raw = await receiver.wait(2)
    described = await validator(api.http, "workflowEnded")
    described.validate(json.loads(raw))
    assert not described.is_valid({**json.loads(raw), "surprise": 1})
    assert len(set(receiver.ids())) == 1
    async with asyncio.timeout(10):
        while len((await api.call("GET", "/v1/workflows/w/deliveries"))[1]["deliveries"]) < 2:
            await asyncio.sleep(0.02)
