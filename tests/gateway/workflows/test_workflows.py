"""/v1/workflows over HTTP, with a real scheduler, Redis and node behind the gateway."""

from __future__ import annotations

import asyncio
import json

import jsonschema_rs
import pytest

from gateway.keys import key_sha256, new_key
from gateway.settings import ApiKey
from gateway.templates.catalogue import TEMPLATES, Template, TemplateFile, parameter_schema
from tests.gateway.v1.test_webhooks import validator
from tests.gateway.workflows.conftest import Api, chain, gateway
from tests.scheduler.callbacks.receiver import receiving, section
from tests.scheduler.conftest import Harness, until
from yivideo.task.v1 import task_pb2

pytestmark = pytest.mark.trial("10.9")


async def test_one_request_one_stream_one_answer(api: Api) -> None:
    """A workflow is accepted whole, told over one stream, and shown in the first YiVideo's form."""
    status, accepted = await api.call("POST", "/v1/workflows", chain())
    assert (status, accepted["workflow_id"], accepted["tasks_total"]) == (202, "w", 2)
    assert [task["task_id"] for task in accepted["tasks"]] == ["w-audio", "w-cut"]
    await api.finish("w-audio", "w-cut")
    told = await api.events("w")
    assert [identity for identity, _ in told] == [str(n) for n in range(1, len(told) + 1)]
    assert told[0][1]["event"] == "workflow_accepted" and told[-1][1]["event"] == "workflow_completed"
    done = [data for _, data in told if data["event"] == "completed"]
    assert [data["task_id"] for data in done] == ["w-audio", "w-cut"]
    assert await api.events("w", after=told[2][0]) == told[3:]
    assert await api.events("w", after=told[-1][0]) == []
    status, context = await api.call("GET", "/v1/workflows/w")
    assert (status, context["status"], context["error"]) == (200, "completed", None)
    assert context["shared_storage_path"] == "/share/workflows/w"
    stage = context["stages"]["media.split"]
    assert (stage["status"], stage["input_params"]) == ("SUCCESS", {"video_path": "w-audio.wav"})
    assert (await api.call("POST", "/v1/workflows", chain()))[0] == 200
    status, page = await api.call("GET", "/v1/workflows?status=completed")
    assert [one["tasks"] for one in page["workflows"]] == [{"completed": 2}]


async def test_an_accepted_workflow_that_nobody_would_run_says_so(harness: Harness) -> None:
    """The answer's message and the task's `waiting_reason` name the node that is not there, and how it is started here."""
    node = await harness.node()
    client = await harness.scheduler(unavailable_seconds=0, starts={"media": "make run nodes=films"})
    await client.scheduler.availability.refresh()
    node.draining = True
    await node.notify()
    await until(lambda: not client.scheduler.dispatcher.offers("media.extract"))
    api = Api(await harness.stack.enter_async_context(gateway(client.address)), node)
    status, accepted = await api.call("POST", "/v1/workflows", chain())
    said = "no replica of node media: start it with `make run nodes=films`; it waits until one is there"
    assert (status, accepted["message"]) == (202, f"The workflow was accepted: {said}.")
    _, context = await api.call("GET", "/v1/workflows/w")
    assert [task["waiting_reason"] for task in context["tasks"]] == [said, "waiting for other tasks"]


async def test_refusals_speak_of_the_clients_body(api: Api) -> None:
    """Pointers lead into the body as it was sent, and nothing is stored."""
    wrong = chain()
    wrong["tasks"][1]["input_data"]["video_path"] = "${{ task.audio.output.audio_path }}"
    status, problem = await api.call("POST", "/v1/workflows", wrong)
    assert (status, problem["code"]) == (400, "BAD_REFERENCE")
    assert problem["errors"][0]["pointer"] == "/tasks/1/input_data/video_path"
    wrong["tasks"][1]["input_data"] = {"video_path": "a", "rate": 0}
    status, problem = await api.call("POST", "/v1/workflows", wrong)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/tasks/1/input_data/rate")
    assert (await api.call("GET", "/v1/workflows/w"))[0] == 404
    assert (await api.call("POST", "/v1/workflows", {"tasks": []}))[0] == 400
    assert (await api.call("POST", "/v1/workflows", {"template": "nothing"}))[1]["errors"][0][
        "pointer"
    ] == "/template"


async def test_cancel_and_retry_from_the_failed_stage(api: Api) -> None:
    """A failed workflow goes on where it failed; one that runs is cancelled as one."""
    await api.call("POST", "/v1/workflows", chain())
    await api.finish("w-audio")
    await (await api.node.arrival("w-cut")).fail("MEDIA_UNREADABLE")
    assert (await api.events("w"))[-1][1]["event"] == "workflow_failed"
    _, context = await api.call("GET", "/v1/workflows/w")
    assert context["error"] == "media.split: MEDIA_UNREADABLE: it broke"
    status, again = await api.call("POST", "/v1/workflows/w/retry")
    assert (status, again["tasks_skipped"], again["tasks_to_execute"]) == (202, 1, 1)
    assert (await api.call("POST", "/v1/workflows/w/retry"))[0] == 400
    here = await api.node.arrival("w-cut", 2)
    status, context = await api.call("DELETE", "/v1/workflows/w")
    assert (status, context["state"]) == (202, "cancelling")
    await here.wait_cancel()
    assert api.node.started == [("w-audio", 1), ("w-cut", 1), ("w-cut", 2)]


async def test_a_request_waits_for_the_end(api: Api) -> None:
    """`Prefer: wait=N` on submit, look and cancel is answered at the workflow's end; a wait that passes changes nothing."""
    status, accepted = await api.call("POST", "/v1/workflows", chain(), Prefer="wait=1")
    assert (status, accepted["status"]) == (202, "running")
    waiting = asyncio.create_task(api.call("GET", "/v1/workflows/w", Prefer="wait=20"))
    await api.finish("w-audio", "w-cut")
    status, context = await waiting
    assert (status, context["status"]) == (200, "completed")
    assert (await api.call("POST", "/v1/workflows/w/retry", {"from_tasks": ["cut"]}))[0] == 202
    stopping = asyncio.create_task(api.call("DELETE", "/v1/workflows/w", Prefer="wait=20"))
    here = await api.node.arrival("w-cut", 2)
    await here.wait_cancel()
    await here.say(cancelled=task_pb2.TaskCancelled(reason="told"))
    status, context = await stopping
    assert (status, context["status"]) == (200, "cancelled")


async def test_the_first_yivideos_chain(api: Api) -> None:
    """A `workflow_config` becomes tasks in order: the film to those that take one, parameters by the task's name."""
    body = {
        "video_path": "film.mp4",
        "workflow_config": {"workflow_chain": ["media.extract", "media.split"]},
        "workflow_id": "old",
        "media.split": {"rate": 3},
    }
    status, accepted = await api.call("POST", "/v1/workflows", body)
    assert (status, accepted["execution_mode"], accepted["tasks_to_execute"]) == (202, "full", 2)
    first, second = (task["task_id"] for task in accepted["tasks"])
    await api.finish(first)
    here = await api.node.arrival(second)
    assert (here.request.spec.input["video_path"], here.request.spec.input["rate"]) == ("film.mp4", 3)
    await here.fail()
    await api.events("old")
    status, again = await api.call("POST", "/v1/workflows", body | {"execution_mode": "retry"})
    assert (status, again["execution_mode"], again["tasks_skipped"]) == (202, "retry", 1)
    status, problem = await api.call("POST", "/v1/workflows", body | {"media.other": {}})
    assert status == 400 and "media.other" in problem["detail"]


async def test_another_users_workflow_does_not_exist(harness: Harness) -> None:
    """Reading, watching, cancelling and retrying it are 404, also for who has tasks of their own under its id."""
    node = await harness.node(slots=20)
    client = await harness.scheduler()
    keys = {user: new_key() for user in ("ann", "bob")}
    entries = tuple(ApiKey(key_sha256=key_sha256(key), user=user) for user, key in keys.items())
    sessions = {
        user: Api(
            await harness.stack.enter_async_context(gateway(client.address, key, api_keys=entries)), node
        )
        for user, key in keys.items()
    }
    assert (await sessions["ann"].call("POST", "/v1/workflows", chain()))[0] == 202
    bob = sessions["bob"]
    own = {
        "task_name": "media.extract",
        "task_id": "b",
        "workflow_id": "w",
        "input_data": {"video_path": "b"},
    }
    assert (await bob.call("GET", "/v1/workflows/w"))[0] == 404
    await bob.call("POST", "/v1/tasks", own)
    _, context = await bob.call("GET", "/v1/workflows/w")
    assert [task["task_id"] for task in context["tasks"]] == ["b"]
    for method, path in (
        ("DELETE", ""), ("POST", "/retry"), ("GET", "/events"), ("POST", "/delete"), ("GET", "/deliveries"),
        ("POST", "/redeliver"),
    ):  # fmt: skip
        assert (await bob.call(method, f"/v1/workflows/w{path}"))[0] == 404
    assert (await bob.call("GET", "/v1/workflows"))[1]["workflows"] == []


TEMPLATE = TemplateFile.model_validate(
    {
        "description": "Sound of a film, cut.",
        "parameters": {"film": {"type": "string"}, "again": {"type": "boolean", "default": False}},
        "required": ["film"],
        "tasks": [
            {"key": "audio", "task": "media.extract", "input": {"video_path": "${{ parameters.film }}"}},
            {
                "key": "cut",
                "task": "media.split",
                "input": {"video_path": "${{ tasks.audio.output.audio_path }}"},
            },
            {
                "key": "more",
                "task": "media.split",
                "when": "again",
                "input": {"video_path": "${{ tasks.audio.output.audio_path }}"},
            },
        ],
        "result": {
            "sound": "${{ tasks.audio.output.audio_path }}",
            "parts": "${{ tasks.cut.output.parts }}",
            "seconds": "${{ tasks.cut.output.facts.seconds }}",
            "nothing": "${{ tasks.cut.output.facts.none }}",
            "again": "${{ tasks.more.output.parts }}",
        },
    }
)
"""A template of what the fake node can do."""


async def test_what_comes_out_of_a_template_is_told_by_name(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`outputs` has the values, with links where they are stored files, over REST and in the callback; null until then, and of
    what was left out. A completed task is at 100 percent, and shows all that it waited for.
    """
    validate = jsonschema_rs.Draft202012Validator(parameter_schema(TEMPLATE))
    monkeypatch.setitem(TEMPLATES, "sound_of_film", Template("sound_of_film", TEMPLATE, validate))
    receiver = await harness.stack.enter_async_context(receiving())
    node = await harness.node(slots=20)
    client = await harness.scheduler(callbacks=section())
    api = Api(await harness.stack.enter_async_context(gateway(client.address)), node)
    body = {
        "template": "sound_of_film",
        "parameters": {"film": "a.mp4"},
        "workflow_id": "w",
        "callback": receiver.url,
    }
    status, accepted = await api.call("POST", "/v1/workflows", body)
    assert status == 202, accepted
    audio = await api.node.arrival("w-audio")
    await audio.progress(95)
    _, context = await api.call("GET", "/v1/workflows/w")
    assert context["outputs"] == dict.fromkeys(TEMPLATE.result)
    assert [task["depends_on"] for task in context["tasks"]] == [[], ["w-audio"]]
    sound = task_pb2.OutputFile(name="a.wav", path="w-audio/a.wav", type="audio", size_bytes=3, sha256="ab")
    await audio.complete({"audio_path": "w-audio/a.wav"}, files=[sound])
    parts = {"parts": {"one": "w-cut/1.wav", "two": "w-cut/2.wav"}, "facts": {"seconds": 1.5}}
    files = [task_pb2.OutputFile(name=f"{n}.wav", path=f"w-cut/{n}.wav", type="audio") for n in (1, 2, 3)]
    await (await api.node.arrival("w-cut")).complete(parts, files=files)
    await api.events("w")
    _, context = await api.call("GET", "/v1/workflows/w")
    outputs = context["outputs"]
    assert outputs["sound"]["value"] == "w-audio/a.wav"
    (shown,) = outputs["sound"]["minio_files"]
    assert shown in context["tasks"][0]["minio_files"] and "/v1/files/download/w-audio/a.wav" in shown["url"]
    assert outputs["parts"]["value"] == parts["parts"]
    assert [file["name"] for file in outputs["parts"]["minio_files"]] == ["1.wav", "2.wav"]
    assert outputs["seconds"] == {"value": 1.5, "minio_files": []}
    assert outputs["nothing"] is None and outputs["again"] is None
    assert [task["percent"] for task in context["tasks"]] == [100.0, 100.0]
    _, raw = await receiver.wait(1)
    told = json.loads(raw)
    (await validator(api.http, "workflowEnded")).validate(told)
    assert told["result"]["outputs"].keys() == outputs.keys()
    assert told["result"]["outputs"]["seconds"] == outputs["seconds"]
    assert (await api.call("POST", "/v1/workflows", body))[0] == 200, "the same request is the same workflow"


async def test_templates_are_listed_with_what_is_missing(api: Api) -> None:
    """An installation without their nodes says so, and refuses one by the parameter's or the task's name."""
    _, listed = await api.call("GET", "/v1/workflows/templates")
    by_name = {one["name"]: one for one in listed["templates"]}
    film = by_name["film_to_subtitles"]
    assert not film["available"] and "ffmpeg.extract_audio" in film["missing"]
    assert film["parameters"]["required"] == ["film"]
    body = {"template": "film_to_subtitles", "parameters": {"fim": "a"}}
    _, problem = await api.call("POST", "/v1/workflows", body)
    assert {one["pointer"] for one in problem["errors"]} == {"/parameters/film", "/parameters/fim"}
    status, problem = await api.call(
        "POST", "/v1/workflows", {"template": "film_to_subtitles", "parameters": {"film": "a"}}
    )
    assert (status, problem["code"]) == (400, "UNKNOWN_TASK_TYPE")
