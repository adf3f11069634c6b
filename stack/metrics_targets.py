"""Where each part of a stack serves its figures, and the list of these places that Prometheus discovers them by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.addresses import join_host_port
from stack.part import PartFailed
from stack.ports import PortBook, PortTaken
from stack.settings import StackSection


def metrics_addresses(section: StackSection, parts: Sequence[str], ports: PortBook) -> dict[str, str]:
    """Choose an address for each part. Raises PartFailed for an unknown part, or a port that was set and is taken."""
    unknown = set(section.metrics_ports) - set(parts)
    if unknown:
        raise PartFailed(
            f"stack.metrics_ports: no part is called {', '.join(sorted(unknown))}; there are {', '.join(parts)}"
        )
    host, first, found = section.metrics_host, section.metrics_port, {}
    try:
        for name, port in section.metrics_ports.items():
            found[name] = ports.fixed(f"metrics of {name}", port, host)
        for number, name in enumerate(parts):
            if name not in found:
                found[name] = ports.port(f"metrics of {name}", first and first + number, host)
    except PortTaken as error:
        raise PartFailed(f"stack.metrics_ports: {error}") from None
    return {name: join_host_port(host, found[name]) for name in parts}


def write_targets(path: Path, addresses: Mapping[str, str]) -> None:
    """Write the list in the form of Prometheus' file and HTTP service discovery; it appears whole or not at all."""
    targets = [
        {"targets": [address], "labels": {"job": "yivideo", "part": name}}
        for name, address in addresses.items()
    ]
    new = path.with_suffix(".new")
    new.write_text(json.dumps(targets, indent=2))
    new.replace(path)
