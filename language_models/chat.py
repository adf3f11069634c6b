"""A chat with a language model as data, and what an engine is: anything that answers one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        """Return it in the OpenAI form."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class ChatRequest:
    """What a model is asked. None: what the provider's settings say."""

    messages: Sequence[Message]
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_seconds: float | None = None
    """For the whole call, retries and pauses included."""
    schema: dict[str, Any] | None = None
    """JSON Schema of the answer; None: the answer is text."""

    @property
    def characters(self) -> int:
        """Length of all that is said."""
        return sum(len(message.content) for message in self.messages)


@dataclass(frozen=True)
class ChatAnswer:
    """What a model said."""

    text: str
    model: str
    """As its server calls it."""
    finish_reason: str
    """`stop`, `length` (the answer was cut at `max_tokens`), or another word of the server's."""
    input_tokens: int
    output_tokens: int
    estimated: bool = False
    """Whether the numbers of tokens are ours, since the server told none."""
    requests: int = 1
    """How often the request was sent."""
    cost: float = 0.0
    """By the configured prices, of the last request; what failed before it is not known to have been charged."""


Told = Callable[[str], Awaitable[None]]
"""Gets each piece of an answer as it comes; when a request is sent again after half an answer, pieces begin anew after `""`."""


class LanguageModel(Protocol):
    """An engine: something that answers a chat."""

    @property
    def name(self) -> str:
        """Provider, for reports."""

    @property
    def model(self) -> str:
        """Model, for reports."""

    async def chat(self, request: ChatRequest, told: Told | None = None) -> ChatAnswer:
        """Answer. Raises ModelFault; ends at once when it is cancelled."""


def estimate_tokens(characters: int) -> int:
    """Return a number of tokens for a length of text when nobody counts: a third, between English (a quarter) and Chinese (a
    half).
    """
    return (characters + 2) // 3
