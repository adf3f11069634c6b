"""What the tasks give."""

from __future__ import annotations

from typing import Any

from nodekit import MediaRef, TaskOutput


class Usage(TaskOutput):
    """What an answer took."""

    requests: int
    """Requests that were sent, those sent again included."""
    input_tokens: int
    """Tokens sent."""
    output_tokens: int
    """Tokens of the answers."""
    estimated: bool
    """Whether the numbers of tokens are ours, since the server told none."""
    cost: float
    """By the configured prices."""
    currency: str
    """Of the cost."""


class ChatOutput(TaskOutput):
    """An answer."""

    text: str | None
    """What the model said; null when that is longer than 100,000 characters."""
    text_path: MediaRef
    """The same as a file, UTF-8."""
    finish_reason: str
    """`stop`; `length`: the answer was cut at `max_tokens`."""
    provider: str
    """Who answered."""
    model: str
    """As its server calls it."""
    usage: Usage
    """What it took."""


class JsonOutput(TaskOutput):
    """An answer that fits its schema."""

    value: Any
    """The answer; null when it is longer than 100,000 bytes."""
    json_path: MediaRef
    """The same as a file."""
    rounds: int
    """How often the model was asked."""
    provider: str
    """Who answered."""
    model: str
    """As its server calls it."""
    usage: Usage
    """What all rounds took."""
