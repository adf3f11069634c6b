"""The language model node: a chat, and a chat whose answer fits a JSON Schema. The call itself is `language_models`' work."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from language_models import (
    ChatAnswer,
    ChatRequest,
    FaultCode,
    Message,
    ModelFault,
    NoJson,
    OpenAiChat,
    configured,
    find_json,
    lacking,
    llm_settings,
    open_model,
)
from nodekit import Node, TaskContext, TaskFailed
from services.llm import checking
from services.llm.inputs import AskInput, ChatInput, JsonInput
from services.llm.outputs import ChatOutput, JsonOutput, Usage
from services.llm.telling import Telling

_MOST_INLINE = 100_000
_JSON_ONLY = "Answer with JSON alone that fits this JSON Schema, nothing before or after it:\n"

node = Node("llm", slots=4, engines=lambda: configured(llm_settings()))


@dataclass
class _Taken:
    """What the answers of one task took."""

    answers: list[ChatAnswer] = field(default_factory=list)

    def usage(self) -> Usage:
        """Return the sums."""
        return Usage(
            requests=sum(answer.requests for answer in self.answers),
            input_tokens=sum(answer.input_tokens for answer in self.answers),
            output_tokens=sum(answer.output_tokens for answer in self.answers),
            estimated=any(answer.estimated for answer in self.answers),
            cost=round(sum(answer.cost for answer in self.answers), 8),
            currency=llm_settings().currency,
        )


@node.task(
    "llm.chat", timeout_seconds=3600, reuse_field="text_path", lacking=lacking, lacking_unless=("model",)
)
async def chat(request: ChatInput, context: TaskContext) -> ChatOutput:
    """Asks a language model; the answer is told piece by piece as it comes."""
    async with _model(request, context) as model:
        answer = await model.chat(
            _request(request, _messages(request)), Telling(context, time.monotonic).tell
        )
    path = context.output_path("answer.txt")
    await context.call(path.write_text, answer.text, encoding="utf-8")
    return ChatOutput(
        text=answer.text if len(answer.text) <= _MOST_INLINE else None,
        text_path=await context.store(path),
        finish_reason=answer.finish_reason,
        provider=model.name,
        model=answer.model,
        usage=_Taken([answer]).usage(),
    )


@node.task(
    "llm.json", timeout_seconds=3600, reuse_field="json_path", lacking=lacking, lacking_unless=("model",)
)
async def ask_json(request: JsonInput, context: TaskContext) -> JsonOutput:
    """Asks a language model for JSON that fits a schema; shows it what is wrong until it fits, a few times at most."""
    await _check_schema(request, context)
    schema = orjson.dumps(request.schema_).decode()
    messages = [Message("system", _JSON_ONLY + schema), *_messages(request)]
    taken = _Taken()
    async with _model(request, context) as model:
        for attempt in range(1, request.repair_rounds + 2):
            answer = await model.chat(_request(request, messages, request.schema_))
            taken.answers.append(answer)
            faults, value = await _faults_of(answer, request, context)
            if not faults:
                break
            await context.log(f"answer {attempt} does not fit: {faults[0]}", "warning")
            await context.progress(90 * attempt / (request.repair_rounds + 1), "repairing")
            messages = [*messages[: len(_messages(request)) + 1], *_repair(answer, faults)]
        else:
            said = "; ".join(faults)[:1000]
            message = f"no answer of {attempt} fits the schema: {said}"
            raise TaskFailed(FaultCode.ANSWER_INVALID, message, retryable=True)
    path = context.output_path("answer.json")
    raw = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    await context.call(path.write_bytes, raw)
    return JsonOutput(
        value=value if len(raw) <= _MOST_INLINE else None,
        json_path=await context.store(path),
        rounds=len(taken.answers),
        provider=model.name,
        model=taken.answers[-1].model,
        usage=taken.usage(),
    )


async def _check_schema(request: JsonInput, context: TaskContext) -> None:
    """Refuse a schema that is none before anything is paid for. Raises TaskFailed (INVALID_INPUT)."""
    try:
        await context.call(checking.find_faults, request.schema_, None)
    except checking.SchemaUnusable as error:
        raise TaskFailed("INVALID_INPUT", f"the schema cannot be used: {error}", field="/schema") from None


async def _faults_of(
    answer: ChatAnswer, request: JsonInput, context: TaskContext
) -> tuple[list[str], object]:
    """Return what is wrong with an answer, and its value."""
    if answer.finish_reason == "length":
        return ["it was cut at max_tokens: say it shorter"], None
    try:
        value = find_json(answer.text)
    except NoJson as error:
        return [str(error)], None
    return await context.call(checking.find_faults, request.schema_, value), value


def _repair(answer: ChatAnswer, faults: list[str]) -> list[Message]:
    """Return the turns that show a model what is wrong with its last answer; only that one, so that chats do not grow."""
    listed = "\n".join(f"- {fault}" for fault in faults)
    return [
        Message("assistant", answer.text[:20_000] or "{}"),
        Message("user", f"That does not fit the schema:\n{listed}\nGive the whole corrected JSON alone."),
    ]


def _messages(request: AskInput) -> list[Message]:
    turns = [Message(one.role, one.content) for one in request.messages] or [Message("user", request.prompt)]
    return [Message("system", request.system), *turns] if request.system else turns


def _request(
    request: AskInput, messages: list[Message], schema: dict[str, object] | None = None
) -> ChatRequest:
    return ChatRequest(
        messages,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
        timeout_seconds=request.timeout,
        schema=schema,
    )


@asynccontextmanager
async def _model(request: AskInput, context: TaskContext) -> AsyncIterator[OpenAiChat]:
    """Have the model that is asked for; a fault of it becomes the task's failure."""
    try:
        async with open_model(context.user, request.provider, request.model) as model:
            yield model
    except ModelFault as fault:
        raise TaskFailed(fault.code, fault.message, fault.retryable, fault.field) from None
