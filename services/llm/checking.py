"""An answer held against a JSON Schema. Runs in a worker process: a stranger's schema may take any time."""

from __future__ import annotations

from typing import Any, NoReturn

import jsonschema_rs

_MOST_FAULTS = 10
_MOST_TEXT = 300


class SchemaUnusable(ValueError):
    """The schema is none, or refers to something outside itself; the message says what."""

    def __reduce__(self) -> tuple[type[SchemaUnusable], tuple[str]]:
        return SchemaUnusable, (str(self),)


def find_faults(schema: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value, at most ten things, each with its place. Raises SchemaUnusable."""
    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
    except Exception as error:  # the package has several, and a panic of its regexes among them
        raise SchemaUnusable(str(error).split("\n")[0][:_MOST_TEXT]) from None
    faults = []
    for fault in validator.iter_errors(value):
        place = "/" + "/".join(str(part) for part in fault.instance_path)
        faults.append(f"{place}: {fault.message[:_MOST_TEXT]}")
        if len(faults) == _MOST_FAULTS:
            break
    return faults


def _refuse(uri: str) -> NoReturn:
    # Following it would have the node call any address that a client writes into a schema.
    raise ValueError(f"references outside the schema are not followed: {uri[:200]}")
