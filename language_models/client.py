"""One chat with a server that speaks the OpenAI form: guarded, bounded in time and bytes, sent again where that can help.

Cancelling the coroutine closes the connection at once, which is what makes a server stop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import orjson

from language_models.budget import Budget, process_budget
from language_models.chat import ChatAnswer, ChatRequest, Told, estimate_tokens
from language_models.faults import FaultCode, ModelFault
from language_models.metrics import count_answer, count_failure
from language_models.providers import Provider, choose
from language_models.retrying import AGAIN, pause_seconds, read_retry_after
from language_models.settings import LlmSection, llm_settings
from language_models.sse import EventLines, LineTooLong
from language_models.wire import Gathering, NotTheForm, ServerFailed, error_text, to_body
from runtime import spans
from runtime.egress import Egress
from runtime.errors import DeadlineExceeded, Unavailable, YiVideoError
from runtime.spans import Kind

_MAX_ERROR_BYTES = 8192
_PIECE_BYTES = 64 * 1024


class _Again(Exception):
    """An attempt that failed in a way that another one may not."""

    def __init__(self, fault: ModelFault, retry_after: float | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.retry_after = retry_after


@dataclass
class OpenAiChat:
    """A provider's model, for one user. The sleep and the dice are passed in."""

    provider: Provider
    egress: Egress
    section: LlmSection
    budget: Budget
    user: str
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    dice: Callable[[], float] = random.random

    @property
    def name(self) -> str:
        """Provider's name."""
        return self.provider.name

    @property
    def model(self) -> str:
        """Model's name."""
        return self.provider.model

    async def chat(self, request: ChatRequest, told: Told | None = None) -> ChatAnswer:
        """Answer a chat. Raises ModelFault."""
        seconds = request.timeout_seconds or self.provider.section.timeout_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        self.budget.check_tokens(self.user, estimate_tokens(request.characters))
        try:
            with spans.span(f"chat {self.name}", Kind.CLIENT, model=self.model) as span:
                answer = await self._attempts(request, told, deadline)
                if span is not None:
                    span.attributes |= {
                        "yivideo.requests": answer.requests,
                        "yivideo.input_tokens": answer.input_tokens,
                        "yivideo.output_tokens": answer.output_tokens,
                    }
        except ModelFault as fault:
            count_failure(self.name, fault.code)
            raise
        self.budget.spend_tokens(self.user, answer.input_tokens + answer.output_tokens)
        count_answer(self.name, answer)
        return answer

    async def _attempts(self, request: ChatRequest, told: Told | None, deadline: float) -> ChatAnswer:
        loop = asyncio.get_running_loop()
        body = to_body(request, self.provider)
        for attempt in range(1, self.section.max_attempts + 1):
            await self.sleep(self.budget.book_request(self.user, max(0.0, deadline - loop.time())))
            try:
                gathered = await self._attempt(body, told, deadline - loop.time())
                return gathered.to_answer(request, self.provider, attempt)
            except _Again as again:
                pause = pause_seconds(attempt, self.dice(), again.retry_after)
                late = loop.time() + pause >= deadline or pause > self.section.max_retry_wait_seconds
                if attempt == self.section.max_attempts or late:
                    raise again.fault from None
                await self.sleep(pause)
                if told is not None:
                    await told("")
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, body: bytes, told: Told | None, seconds: float) -> Gathering:
        if seconds <= 0:
            raise self._fault(FaultCode.MODEL_TIMEOUT, "did not answer in time")
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.provider.key:
            headers["Authorization"] = f"Bearer {self.provider.key}"
        try:
            async with self.egress.request(
                "POST", self.provider.url, timeout_seconds=seconds, headers=headers, data=body
            ) as response:
                if response.status != 200:
                    raise await self._refusal(response)
                return await self._read(response, told)
        except DeadlineExceeded:
            raise self._fault(FaultCode.MODEL_TIMEOUT, "did not answer in time") from None
        except Unavailable as error:
            raise _Again(self._fault(FaultCode.MODEL_UNREACHABLE, error.message)) from None
        except YiVideoError as error:
            raise self._fault(FaultCode.FAILED_PRECONDITION, error.message) from None

    async def _read(self, response: aiohttp.ClientResponse, told: Told | None) -> Gathering:
        """Read an answer, streamed or whole. Raises ModelFault, or _Again for one that breaks off or is not in the form."""
        gathering = Gathering()
        streamed = response.content_type == "text/event-stream"
        try:
            if streamed:
                await self._read_stream(response, gathering, told)
            else:
                whole = b"".join([piece async for piece in self._pieces(response)])
                text = gathering.add_whole(whole)
                if told is not None:
                    await told(text)
        except (NotTheForm, LineTooLong) as error:
            fault = self._fault(FaultCode.ANSWER_UNREADABLE, f"answers in another form: {error}")
            raise _Again(fault) from None
        except ServerFailed as error:
            raise _Again(
                self._fault(FaultCode.MODEL_UNREACHABLE, f"failed: {self._clean(str(error))}")
            ) from None
        return gathering

    async def _read_stream(
        self, response: aiohttp.ClientResponse, gathering: Gathering, told: Told | None
    ) -> None:
        lines = EventLines()
        async for piece in self._pieces(response):
            for data in lines.feed(piece):
                if data == "[DONE]":
                    return
                text = gathering.add_event(data)
                if text and told is not None:
                    await told(text)
        if not gathering.finish_reason:
            raise _Again(self._fault(FaultCode.MODEL_UNREACHABLE, "broke off in the middle of its answer"))

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Give the body, none of its pieces later than the idle time after the one before, no more than the limit in all."""
        total, idle = 0, self.provider.section.idle_seconds
        while True:
            try:
                async with asyncio.timeout(idle) as patience:
                    piece = await response.content.read(_PIECE_BYTES)
            except TimeoutError:
                if not patience.expired():
                    raise
                raise _Again(
                    self._fault(FaultCode.MODEL_TIMEOUT, f"said nothing for {idle:g} seconds")
                ) from None
            except aiohttp.ClientError:
                raise _Again(
                    self._fault(FaultCode.MODEL_UNREACHABLE, "broke off in the middle of its answer")
                ) from None
            if not piece:
                return
            total += len(piece)
            if total > self.section.max_answer_bytes:
                most = self.section.max_answer_bytes
                raise self._fault(FaultCode.ANSWER_TOO_LARGE, f"answers with more than {most} bytes")
            yield piece

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        """Return what a status other than 200 means."""
        try:
            async with asyncio.timeout(10):
                raw = await response.content.read(_MAX_ERROR_BYTES)
        except (TimeoutError, aiohttp.ClientError):
            raw = b""
        try:
            reason = error_text(orjson.loads(raw))
        except orjson.JSONDecodeError:
            reason = raw[:300].decode("utf-8", errors="replace").strip() or "no reason given"
        message = f"answers {response.status}: {self._clean(reason)}"
        if response.status in AGAIN:
            limited = response.status == 429
            code = FaultCode.MODEL_RATE_LIMITED if limited else FaultCode.MODEL_UNREACHABLE
            after = read_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            return _Again(self._fault(code, message), after)
        code = FaultCode.MODEL_UNAUTHORIZED if response.status in (401, 403) else FaultCode.MODEL_REFUSED
        return self._fault(code, message)

    def _clean(self, text: str) -> str:
        """Return a server's words without the key, which some repeat."""
        return text.replace(self.provider.key, "…") if self.provider.key else text

    def _fault(self, code: FaultCode, what: str) -> ModelFault:
        return ModelFault(code, f"the language model {self.name}/{self.model} {what}")


@asynccontextmanager
async def open_model(
    user: str, provider: str = "auto", model: str = "", *, section: LlmSection | None = None
) -> AsyncIterator[OpenAiChat]:
    """Have a user's model for the time of a block. Raises ModelFault (FAILED_PRECONDITION) when it is not configured."""
    section = section or llm_settings()
    chosen = choose(section, provider, model)
    egress = Egress(chosen.policy(section.allow_addresses))
    try:
        yield OpenAiChat(chosen, egress, section, process_budget(), user)
    finally:
        await egress.aclose()
