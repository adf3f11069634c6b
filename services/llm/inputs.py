"""What the tasks take."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from nodekit import TaskInput, examples

MAX_CHARACTERS = 400_000
"""Of all messages together."""
MAX_SCHEMA_BYTES = 64 * 1024


class ChatMessage(TaskInput):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
    """What is said."""


class AskInput(TaskInput):
    """Whom to ask what."""

    prompt: str = Field("", max_length=MAX_CHARACTERS)
    """What is asked; or `messages`."""
    messages: list[ChatMessage] = Field(default_factory=list, max_length=200)
    """A whole chat, the last turn the user's, in place of `prompt`."""
    system: str = Field("", max_length=20_000)
    """What the model is told first."""
    provider: Literal["auto", "deepseek", "gemini", "zhipu", "volcengine", "openai_compatible", "ollama"] = (
        "auto"
    )
    """Provider; auto: the configured default."""
    model: str = Field("", max_length=200)
    """Model's name; empty: the configured one."""
    temperature: float | None = Field(None, ge=0, le=2)
    """How freely the model chooses its words; null: as configured."""
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    """Longest answer; null, and at most: as configured."""
    timeout: float | None = Field(None, ge=1, le=3600)
    """Longest time of a question, its retries included, in seconds; null: as configured."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.prompt) == bool(self.messages):
            raise ValueError("give either prompt or messages")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last of messages must be the user's")
        if sum(len(message.content) for message in self.messages) > MAX_CHARACTERS:
            raise ValueError(f"messages have more than {MAX_CHARACTERS} characters in all")
        return self


class ChatInput(AskInput):
    """What to ask a model."""

    model_config = ConfigDict(
        json_schema_extra=examples({"prompt": "A title for a film about bread, five words at most"})
    )


class JsonInput(AskInput):
    """What to ask a model, and which form its answer has to have."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "prompt": "Three titles for a film about bread",
                "schema": {
                    "type": "object",
                    "properties": {"titles": {"type": "array", "items": {"type": "string"}}},
                    "required": ["titles"],
                },
            }
        )
    )

    schema_: dict[str, Any] = Field(alias="schema")
    """JSON Schema (2020-12) of the answer, at most 64 KiB; references only to places within itself."""
    repair_rounds: int = Field(2, ge=0, le=5)
    """How often the model is shown what is wrong with its answer and asked again."""

    @model_validator(mode="after")
    def _check_schema(self) -> Self:
        if len(orjson.dumps(self.schema_)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"schema has more than {MAX_SCHEMA_BYTES} bytes")
        return self
