"""The language model node over real gRPC, against a real server that speaks the OpenAI form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidInput
from services.llm.node import node
from tests.services.llm.conftest import Serve

NUMBERS = count(1)
SCHEMA = {
    "type": "object",
    "properties": {"titles": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
    "required": ["titles"],
}


@pytest.fixture
async def llm_node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    async with NodeUnderTest(node, tmp_path) as under_test:
        yield under_test


async def run(under_test: NodeUnderTest, method: str, **task_input: Any) -> TaskResult:
    """Run a task to its end."""
    return await under_test.run(f"llm.{method}", task_input, task_id=f"t{next(NUMBERS)}")


async def test_a_chat_is_answered_and_counted(llm_node: NodeUnderTest, model_server: Serve) -> None:
    """The answer comes inline and as a file, with who answered, tokens and cost; the system text and key were sent."""
    async with model_server(answer=lambda body: "Bread and Light") as server:
        result = await run(llm_node, "chat", prompt="A title", system="You name films.", temperature=0.7)
    assert result.outcome == "completed", result.error
    assert result.output["text"] == "Bread and Light" == result.file("text_path").read_text()
    assert (result.output["provider"], result.output["model"]) == ("openai_compatible", "stub-1")
    assert result.output["usage"] == {
        "requests": 1,
        "input_tokens": 10,
        "output_tokens": 15,
        "estimated": False,
        "cost": 1e-05,
        "currency": "USD",
    }
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]
    assert (server.requests[0]["temperature"], server.keys) == (0.7, ["Bearer sk-secret"])


async def test_an_answer_is_told_as_it_comes(llm_node: NodeUnderTest, model_server: Serve) -> None:
    """Progress events carry pieces with their offsets, which fit together to the beginning of the answer."""
    text = "Once upon a time. " * 20
    async with model_server(answer=lambda body: text, pieces=50):
        result = await run(llm_node, "chat", prompt="A story")
    told = ""
    for event in result.events:
        data = dict(event.progress.data) if event.HasField("progress") else {}
        if "delta" in data:
            assert data["offset"] == len(told)
            told += str(data["delta"])
    assert told and text.startswith(told)


async def test_nothing_configured_says_how(llm_node: NodeUnderTest, fresh_settings: None) -> None:
    """Without a model a task fails at once, and names the settings."""
    result = await run(llm_node, "chat", prompt="A title")
    assert (result.error.code, result.error.field) == ("FAILED_PRECONDITION", "/provider")
    assert "YIVIDEO_LLM__OLLAMA__MODEL" in result.error.message and not result.error.retryable


@pytest.mark.parametrize("trouble", ["hang", "stall", "gigabyte"])
async def test_cancel_cuts_the_request_within_the_second(
    llm_node: NodeUnderTest, model_server: Serve, trouble: str
) -> None:
    """The server sees the connection close when the task is cancelled, before and within an answer."""
    async with model_server(always=trouble, MAX_ANSWER_BYTES="60000000") as server:
        running = asyncio.create_task(
            llm_node.run("llm.chat", {"prompt": "A story"}, task_id=f"cut-{trouble}")
        )
        await server.begun.wait()
        await llm_node.cancel(f"cut-{trouble}")
        async with asyncio.timeout(5):
            await server.cut.wait()
        assert (await running).outcome == "cancelled"
        assert not server.open_requests


def answers(*texts: str) -> Any:
    """Say these, one after the other."""
    left: Iterator[str] = iter(texts)
    return lambda body: next(left)


async def test_json_is_repaired_until_it_fits(llm_node: NodeUnderTest, model_server: Serve) -> None:
    """A model is shown what is wrong, by place, and only its last answer; all rounds are counted."""
    wrong = ["Sure, here you are!", '{"titles": ["Bread"]}', '```json\n{"titles": ["Bread", "Light"]}\n```']
    async with model_server(answer=answers(*wrong)) as server:
        result = await run(llm_node, "json", prompt="Two titles", schema=SCHEMA)
    assert result.outcome == "completed", result.error
    assert (
        result.output["value"]
        == {"titles": ["Bread", "Light"]}
        == json.loads(result.file("json_path").read_text())
    )
    assert (result.output["rounds"], result.output["usage"]["requests"]) == (3, 3)
    assert [len(request["messages"]) for request in server.requests] == [2, 4, 4]
    assert "/titles" in server.requests[2]["messages"][-1]["content"]


async def test_repairs_are_bounded(llm_node: NodeUnderTest, model_server: Serve) -> None:
    """After the last repair the task fails as retryable and says what is still wrong."""
    async with model_server(answer=lambda body: '{"titles": 7}') as server:
        result = await run(llm_node, "json", prompt="Two titles", schema=SCHEMA, repair_rounds=1)
    assert (result.error.code, result.error.retryable, len(server.requests)) == ("ANSWER_INVALID", True, 2)
    assert "/titles" in result.error.message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"pattern": "(", "type": "string"},
    ],
)
async def test_a_schema_that_is_none_costs_nothing(
    llm_node: NodeUnderTest, model_server: Serve, schema: dict[str, Any]
) -> None:
    """Before anything is asked; references to anywhere are not followed."""
    async with model_server() as server:
        result = await run(llm_node, "json", prompt="x", schema=schema)
    assert (result.error.code, result.error.field, server.requests) == ("INVALID_INPUT", "/schema", [])


async def test_requests_are_checked(llm_node: NodeUnderTest) -> None:
    """Neither or both of prompt and messages, and a chat that does not end with the user, are refused."""
    turn = {"role": "user", "content": "x"}
    for bad in (
        {},
        {"prompt": "x", "messages": [turn]},
        {"messages": [turn, {"role": "assistant", "content": "y"}]},
    ):
        with pytest.raises(InvalidInput):
            await run(llm_node, "chat", **bad)


async def test_a_users_tokens_are_bounded(llm_node: NodeUnderTest, model_server: Serve) -> None:
    """A user who has used the day's tokens is refused by code; others go on."""
    async with model_server(answer=lambda body: "x" * 90, TOKENS_PER_DAY="100"):
        ended = [
            (await llm_node.run("llm.chat", {"prompt": "x"}, task_id=f"b{number}", user=user)).error.code
            for number, user in enumerate(["anna", "anna", "ben"])
        ]
    assert ended == ["", "BUDGET_EXCEEDED", ""]
