"""Prefer: wait=N (RFC 7240) on submit, status and cancel."""

from __future__ import annotations

import asyncio

from tests.gateway.conftest import Harness, StartHarness
from yivideo.task.v1 import task_pb2 as pb


async def test_wait_answers_when_the_task_has_ended(harness: Harness) -> None:
    """Prefer: wait=N on submit: 200 with the result as soon as there is one, and Preference-Applied."""

    async def work() -> None:
        await harness.scheduler.wait_watchers(1)
        await harness.scheduler.complete("t1")

    working = asyncio.create_task(work())
    body = {"task_name": "ffmpeg.extract_audio", "task_id": "t1", "input_data": {"video_path": "a"}}
    started = asyncio.get_running_loop().time()
    async with harness.http.post(
        "/v1/tasks", json=body, headers={"Prefer": "respond-async, wait=30"}
    ) as response:
        assert (response.status, response.headers["Preference-Applied"]) == (200, "wait=30")
        answer = await response.json()
    assert asyncio.get_running_loop().time() - started < 5
    assert (answer["status"], answer["result"]["status"]) == ("completed", "SUCCESS")
    assert "reuse_info" not in answer
    await working
    await harness.scheduler.wait_watchers(0)


async def test_a_wait_that_is_over_answers_as_things_are(harness: Harness) -> None:
    """When N seconds pass first: 202 and the task as it is; the watch is gone."""
    body = {"task_name": "ffmpeg.extract_audio", "task_id": "t1", "input_data": {"video_path": "a"}}
    async with harness.http.post("/v1/tasks", json=body, headers={"Prefer": "wait=1"}) as response:
        assert (response.status, response.headers["Preference-Applied"]) == (202, "wait=1")
        assert (await response.json())["status"] == "pending"
    await harness.scheduler.wait_watchers(0)


async def test_a_wait_is_capped_and_works_on_reads_too(start_harness: StartHarness) -> None:
    """N is cut to max_wait_seconds; GET status waits the same way; nonsense and no free place are ignored, as RFC 7240 says."""
    async with start_harness(max_wait_seconds=7, max_event_streams=1) as harness:
        await harness.submit("t1")

        async def work() -> None:
            await harness.scheduler.wait_watchers(1)
            await harness.scheduler.complete("t1")

        working = asyncio.create_task(work())
        async with harness.http.get("/v1/tasks/t1/status", headers={"Prefer": 'wait="100"; x=1'}) as response:
            assert (response.status, response.headers["Preference-Applied"]) == (200, "wait=7")
            assert (await response.json())["status"] == "completed"
        await working
        await harness.submit("t2")
        for nonsense in ("wait=-1", "wait=soon", "waits=3", "wait=0"):
            async with harness.http.get("/v1/tasks/t2/status", headers={"Prefer": nonsense}) as response:
                assert response.status == 200 and "Preference-Applied" not in response.headers
        async with harness.http.get("/v1/tasks/t2/events") as taken:
            await harness.scheduler.wait_watchers(1)
            async with harness.http.get("/v1/tasks/t2", headers={"Prefer": "wait=5"}) as response:
                assert response.status == 200 and "Preference-Applied" not in response.headers
            taken.close()


async def test_a_scheduler_that_is_lost_during_the_wait_is_asked_again(harness: Harness) -> None:
    """When the call breaks off, nobody knows whether the task was stored: it is submitted again, and waited for."""
    harness.scheduler.break_submits = 1

    async def work() -> None:
        await harness.scheduler.wait_watchers(1)
        await harness.scheduler.complete("t1")

    working = asyncio.create_task(work())
    body = {"task_name": "ffmpeg.extract_audio", "task_id": "t1", "input_data": {"video_path": "a"}}
    async with harness.http.post("/v1/tasks", json=body, headers={"Prefer": "wait=30"}) as response:
        assert (response.status, response.headers["Preference-Applied"]) == (200, "wait=30")
        answer = await response.json()
    assert answer["status"] == "completed" and "reuse_info" not in answer
    await working
    submits = [one for one in harness.scheduler.requests if isinstance(one, pb.SubmitTaskRequest)]
    assert [one.wait_seconds for one in submits] == [30, 0]
