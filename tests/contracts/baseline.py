"""The contracts' baseline: what clients that are out there rely on, as a small JSON file beside the contracts.

`python -m tests.contracts.baseline --write` takes the contracts as they are now for the new baseline: after an addition, or
before the first release after a change that was meant. The test refuses every removal and every change of what is in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

from tests.contracts.descriptors import PROTOS, compiled

BASELINE = PROTOS / "baseline.json"

Contract = dict[str, dict[str, dict[str, Any]]]


def described(files: Iterable[FileDescriptorProto]) -> Contract:
    """Return what of the contracts must not change: names, numbers, types, and what an RPC takes and gives."""
    contract: Contract = {"rpcs": {}, "messages": {}, "enums": {}}
    for file in files:
        for service in file.service:
            contract["rpcs"][f"{file.package}.{service.name}"] = {
                method.name: _signature(method) for method in service.method
            }
        _describe(file.message_type, file.enum_type, file.package, contract)
    return contract


def _describe(
    messages: Iterable[DescriptorProto], enums: Iterable[EnumDescriptorProto], scope: str, contract: Contract
) -> None:
    for enum in enums:
        contract["enums"][f"{scope}.{enum.name}"] = {value.name: value.number for value in enum.value}
    for message in messages:
        if message.options.map_entry:
            continue
        name = f"{scope}.{message.name}"
        contract["messages"][name] = {field.name: _field(field, message) for field in message.field}
        _describe(message.nested_type, message.enum_type, name, contract)


def _signature(method: MethodDescriptorProto) -> str:
    request = "stream " * method.client_streaming + method.input_type.lstrip(".")
    answer = "stream " * method.server_streaming + method.output_type.lstrip(".")
    return f"{request} -> {answer}"


def _field(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    label = "repeated " * (field.label == FieldDescriptorProto.LABEL_REPEATED)
    entry = [
        inner
        for inner in message.nested_type
        if inner.options.map_entry and field.type_name.endswith(f".{message.name}.{inner.name}")
    ]
    if entry:
        return f"{field.number} map<{', '.join(_type(part) for part in entry[0].field)}>"
    if field.proto3_optional:
        label = "optional "
    elif field.HasField("oneof_index"):
        label = f"oneof {message.oneof_decl[field.oneof_index].name} "
    return f"{field.number} {label}{_type(field)}"


def _type(field: FieldDescriptorProto) -> str:
    return field.type_name.lstrip(".") or FieldDescriptorProto.Type.Name(field.type)[5:].lower()


def breaks(old: Contract, new: Contract) -> Iterator[str]:
    """Tell what of the old contract the new one takes away or changes."""
    for kind, things in old.items():
        for name, parts in things.items():
            now = new[kind].get(name)
            if now is None:
                yield f"{name} is gone"
                continue
            for part, meaning in parts.items():
                if part not in now:
                    yield f"{name}.{part} is gone"
                elif now[part] != meaning:
                    yield f"{name}.{part} was {meaning!r} and is {now[part]!r}"


def read() -> Contract:
    """Return the committed baseline."""
    contract: Contract = json.loads(BASELINE.read_text(encoding="utf-8"))
    return contract


def main() -> None:
    """Compare, or with `--write` replace, the baseline."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--write", action="store_true", help="take the contracts as they are for the baseline"
    )
    now = described(compiled().file)
    if parser.parse_args().write:
        BASELINE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    found = list(breaks(read(), now))
    print("\n".join(found) or "nothing breaks")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
