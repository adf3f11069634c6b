"""Base classes of what clients send and get, as pydantic models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A JSON body: unknown fields are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Query(BaseModel):
    """Query parameters: unknown ones are refused, text is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NoQuery(Query):
    """No query parameters at all."""


class Answer(BaseModel):
    """A JSON answer; only the fields that were set are written."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    def to_json(self) -> bytes:
        """Write it; `null` only where it was set so."""
        return self.__pydantic_serializer__.to_json(self, exclude_unset=True)
