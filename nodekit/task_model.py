"""TaskInput and TaskOutput: what a task's typed input and output derive from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class TaskInput(BaseModel):
    """A task's input. Unknown fields are refused, and types are those of JSON: `"16000"` is not an integer.

    Field docstrings become the descriptions of the published JSON Schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class TaskOutput(BaseModel):
    """A task's output. nodekit adds `<field>_minio_url` beside a MediaRef that can be read by URL."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def examples(*inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what goes into a model's `json_schema_extra`, so that its schema shows these inputs, each good as it stands.

    Media in them are sample paths: `films/first.mp4` is the film that a reader of the README uploads.
    """
    return {"examples": list(inputs)}
