"""The OpenAI chat form: a request's body, and answers, whole or in pieces. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from language_models.chat import ChatAnswer, ChatRequest, estimate_tokens
from language_models.providers import Provider


class NotTheForm(ValueError):
    """What came is not in the OpenAI form; the message says what is wrong."""


class ServerFailed(ValueError):
    """The server says, inside an answer that had begun well, that it failed."""


def to_body(request: ChatRequest, provider: Provider) -> bytes:
    """Return the body of a request."""
    section = provider.section
    body: dict[str, Any] = {
        "model": provider.model,
        "messages": [message.to_json() for message in request.messages],
        "temperature": section.temperature if request.temperature is None else request.temperature,
        "max_tokens": min(section.max_tokens, request.max_tokens or section.max_tokens),
        "stream": section.stream,
    }
    if section.stream:
        body["stream_options"] = {"include_usage": True}
    if request.schema is not None and section.answer_format != "text":
        body["response_format"] = {"type": "json_object"}
        if section.answer_format == "schema":
            named = {"name": "answer", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
    return orjson.dumps(body)


@dataclass
class Gathering:
    """An answer that is coming in."""

    parts: list[str] = field(default_factory=list)
    model: str = ""
    finish_reason: str = ""
    usage: tuple[int, int] | None = None

    def add_event(self, data: str) -> str:
        """Take one streamed piece; returns the text in it. Raises NotTheForm or ServerFailed."""
        return self._add(_document(data.encode()), "delta")

    def add_whole(self, raw: bytes) -> str:
        """Take an answer that came at once; returns its text. Raises NotTheForm or ServerFailed."""
        text = self._add(_document(raw), "message")
        if not self.finish_reason:
            self.finish_reason = "stop"
        return text

    def _add(self, document: dict[str, Any], part: str) -> str:
        if document.get("error"):
            raise ServerFailed(error_text(document))
        if isinstance(document.get("model"), str):
            self.model = document["model"]
        self._count(document.get("usage"))
        choices = document.get("choices")
        if not isinstance(choices, list):
            raise NotTheForm("it has no choices")
        if not choices:
            return ""
        choice = choices[0] if isinstance(choices[0], dict) else {}
        reason, said = choice.get("finish_reason"), choice.get(part)
        if isinstance(reason, str):
            self.finish_reason = reason
        text = said.get("content") if isinstance(said, dict) else None
        if text is None:
            if part == "message":
                raise NotTheForm("its first choice has no message with content")
            return ""
        if not isinstance(text, str):
            raise NotTheForm("its content is no text")
        self.parts.append(text)
        return text

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        if all(
            isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 10**9 for count in counts
        ):
            self.usage = (counts[0], counts[1])  # type: ignore[assignment]

    def to_answer(self, request: ChatRequest, provider: Provider, requests: int) -> ChatAnswer:
        """Return the whole answer."""
        text = "".join(self.parts)
        tokens = self.usage or (estimate_tokens(request.characters), estimate_tokens(len(text)))
        return ChatAnswer(
            text,
            self.model or provider.model,
            self.finish_reason or "stop",
            *tokens,
            estimated=self.usage is None,
            requests=requests,
            cost=provider.cost(*tokens),
        )


def error_text(document: Any) -> str:
    """Return what a server says about its failure, at most 300 characters of it."""
    error = document.get("error") if isinstance(document, dict) else None
    text = error.get("message") if isinstance(error, dict) else error
    return str(text or "no reason given")[:300]


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise NotTheForm("it is no JSON") from None
    if not isinstance(document, dict):
        raise NotTheForm("it is no JSON object")
    return document
