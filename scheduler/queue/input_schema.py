"""Compiles the schema of a task type's input, so that checking by it costs a bounded time and reaches nothing outside."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from runtime.schema_guard import SchemaRefused

_PATTERN_BYTES = 64 * 1024
"""Size of a compiled pattern. Patterns run in time linear in the text; this bounds the states that each character can cost."""


def compile_schema(schema: dict[str, Any]) -> Any:
    """Return the validator of a schema that `read_closed_schema` gave. Raises SchemaRefused; nothing is ever fetched or read."""
    # Every schema is of 2020-12, as the contract says: by one that it does not know, the library would check nothing at all.
    plain = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
    try:
        return jsonschema_rs.Draft202012Validator(
            plain,
            offline=True,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
        )
    except ValueError as error:
        raise SchemaRefused(str(error).partition("\n")[0]) from None
