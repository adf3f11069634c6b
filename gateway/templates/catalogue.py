"""The templates, read from their files once and strictly: a fault in one is found when the process starts, and by a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jsonschema_rs
import yaml
from pydantic import BaseModel, ConfigDict, Field


class TemplateTask(BaseModel):
    """One task of a template."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    key: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """What the others call it."""
    task: str
    """Its type."""
    when: str = ""
    """Parameter that must be true for it to be there; empty: always."""
    input: dict[str, Any]
    """Its input; see the README."""


class TemplateFile(BaseModel):
    """One file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    description: str
    """What goes in and what comes out."""
    parameters: dict[str, dict[str, Any]]
    """JSON Schemas of the parameters."""
    required: list[str]
    """Parameters that must be given."""
    tasks: list[TemplateTask] = Field(min_length=1, max_length=100)
    """In the order of their dependencies."""
    result: dict[str, str]
    """What comes out: references by name."""


@dataclass(frozen=True)
class Template:
    """A workflow that is ready made."""

    name: str
    content: TemplateFile
    validator: Any

    @property
    def description(self) -> str:
        """What goes in and what comes out."""
        return self.content.description.strip()

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters."""
        return parameter_schema(self.content)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Task types that it may use, in order, each once."""
        return tuple(dict.fromkeys(task.task for task in self.content.tasks))

    @property
    def always_needed(self) -> frozenset[str]:
        """Task types without which it cannot run at all."""
        return frozenset(task.task for task in self.content.tasks if not task.when)

    @property
    def result(self) -> Mapping[str, str]:
        """What comes out: references by name."""
        return self.content.result


def parameter_schema(content: TemplateFile) -> dict[str, Any]:
    """Return the JSON Schema that a client's parameters must fit."""
    return {
        "type": "object",
        "properties": content.parameters,
        "required": content.required,
        "additionalProperties": False,
    }


def load_templates() -> dict[str, Template]:
    """Read all files, in name order. Raises ValueError for one that is no template."""
    found = {}
    for path in sorted(files("gateway.templates").iterdir(), key=lambda one: one.name):
        if path.name.endswith(".yaml"):
            name = path.name.removesuffix(".yaml")
            content = TemplateFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
            validator = jsonschema_rs.Draft202012Validator(parameter_schema(content))
            found[name] = Template(name, content, validator)
    return found


TEMPLATES = load_templates()
