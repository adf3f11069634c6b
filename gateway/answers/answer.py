"""What every JSON answer has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON answer; only the fields that were set are written."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    def to_json(self) -> bytes:
        """Write it; `null` only where it was set so."""
        return self.__pydantic_serializer__.to_json(self, exclude_unset=True)
