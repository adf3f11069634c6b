"""The outline of a settings class: every setting by its dotted name, for the nearest name of a slip and for docs/settings.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runtime.section_names import variable_name


@dataclass(frozen=True)
class Setting:
    """One setting of a class."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def name(self) -> str:
        """Dotted name, as in a YAML file."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Environment variable."""
        return variable_name(*self.path)


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, also one that may be absent; None for a plain value or a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((found for arm in get_args(annotation) if (found := model_of(arm))), None)
    return None


def item_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a list's, tuple's or mapping's items, when it is one."""
    return next((found for arm in get_args(annotation) if (found := model_of(arm))), None)


def is_json(annotation: Any) -> bool:
    """Whether a variable's text for this field is JSON: lists, mappings and whole sections are."""
    if model_of(annotation):
        return True
    origin = get_origin(annotation) or annotation
    if origin in (Union, UnionType):
        return any(is_json(arm) for arm in get_args(annotation))
    return isinstance(origin, type) and issubclass(origin, list | tuple | dict | set | frozenset)


def settings_of(kind: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield every setting below a class, those of its sections' sections too."""
    for name, field in kind.model_fields.items():
        path = (*above, name)
        inner = model_of(field.annotation)
        if inner is None:
            yield Setting(path, field)
        else:
            yield from settings_of(inner, path)


def field_at(kind: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """Return the field at a place, numbers and keys of lists and mappings included; None when there is none."""
    model: type[BaseModel] | None = kind
    field: FieldInfo | None = None
    for step in path:
        if model is None:
            return None
        found = model.model_fields.get(step) if isinstance(step, str) else None
        if found is None:
            return None
        field = found
        model = model_of(found.annotation)
    return field


def nearest(kind: type[BaseModel], path: Sequence[str | int]) -> str:
    """Return the name that an unknown one was probably meant to be, with its variable; empty when none is like it."""
    steps = [str(step) for step in path]
    siblings = _names_beside(kind, path)
    if like := difflib.get_close_matches(steps[-1], siblings, 1, 0.7):
        meant = [*steps[:-1], like[0]]
        return _shown(meant) if all(isinstance(step, str) for step in path) else like[0]
    every = {setting.name: setting for setting in settings_of(kind)}
    same_end = [setting for setting in every.values() if setting.path[-1] == steps[-1]]
    in_section = [setting for setting in same_end if setting.path[0] == steps[0]]
    for found in (in_section, same_end):
        if len(found) == 1:
            return _shown(found[0].path)
    close = difflib.get_close_matches(".".join(steps), every, 1, 0.75)
    return _shown(every[close[0]].path) if close else ""


def _names_beside(kind: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] | None = kind
    annotation: Any = None
    for step in path[:-1]:
        if isinstance(step, int) or model is None or step not in model.model_fields:
            model = item_model(annotation) if annotation is not None else None
            annotation = None
        else:
            annotation = model.model_fields[step].annotation
            model = model_of(annotation)
    return list(model.model_fields) if model is not None else []


def _shown(path: Sequence[str]) -> str:
    return f"{'.'.join(path)} ({variable_name(*path)})"
