"""The installation's status as a page for people: plain HTML, one style, no script, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from gateway.v1.answers.status import InstallationStatus, NodeStatus

REFRESH_SECONDS = 10

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de;vertical-align:top}
.bad{color:#a40e26;font-weight:600}.good{color:#116329}
small{color:#57606a}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}.bad{color:#ff7b72}
.good{color:#7ee787}small{color:#8b949e}}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Lets the page's one style through and nothing else."""

_GOOD = frozenset({"ok", "serving", "connected", "absent"})


def status_page(status: InstallationStatus) -> str:
    """Write the page."""
    capacity = status.capacity
    facts = "The scheduler did not say what it can do."
    if capacity is not None:
        facts = (
            f"{capacity.running} running, {capacity.waiting} waiting (oldest {_seconds(capacity.oldest_wait_seconds)}), "
            f"{capacity.free_slots} of {capacity.slots} slots free."
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width"><title>YiVideo: '
        f"{escape(status.status)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>YiVideo {escape(status.version)}: {_state(status.status)}</h1><p>{escape(facts)}</p>"
        f"{_problems(status)}{_parts(status)}{_nodes(status)}{_devices(status)}"
        f"<p><small>As of {escape(status.time.isoformat(timespec='seconds'))}; refreshed every {REFRESH_SECONDS} s. "
        "The same as JSON: Accept: application/json.</small></p></body></html>"
    )


def _problems(status: InstallationStatus) -> str:
    lines = "".join(f'<li class="bad">{escape(one)}</li>' for one in status.problems)
    return f"<ul>{lines}</ul>" if lines else ""


def _parts(status: InstallationStatus) -> str:
    rows = [
        (
            escape(part.name), _state(part.state), _number(part.replicas), _text(part.version),
            _number(part.milliseconds), _text(part.error),
        )
        for part in status.parts
    ]  # fmt: skip
    return "<h2>Parts</h2>" + _table(("part", "state", "replicas", "version", "ms", "error"), rows)


def _nodes(status: InstallationStatus) -> str:
    if status.nodes is None:
        return "<h2>Nodes</h2><p>Not known: the scheduler cannot be asked.</p>"
    heads = (
        "node",
        "ready",
        "running",
        "delayed",
        "blocked",
        "dead letters",
        "oldest wait",
        "slots free",
        "replicas",
    )
    rows = [
        (
            escape(node.node), _number(node.ready), _number(node.running), _number(node.delayed), _number(node.blocked),
            _number(node.dead_letters), escape(_seconds(node.oldest_wait_seconds)), f"{node.free_slots} of {node.slots}",
            _replicas(node),
        )
        for node in status.nodes
    ]  # fmt: skip
    return "<h2>Nodes</h2>" + _table(heads, rows)


def _replicas(node: NodeStatus) -> str:
    lines = [
        f"{_state(one.state)} {escape(one.address)} <small>{_text(one.version)} "
        f"{escape(', '.join(one.engines))}{escape(' | loaded: ' + ', '.join(one.models)) if one.models else ''}</small>"
        for one in node.replica_list
    ]
    lines += [f'<span class="bad">{escape(problem)}</span>' for problem in node.problems]
    return "<br>".join(lines) or '<span class="bad">none</span>'


def _devices(status: InstallationStatus) -> str:
    if status.devices is None:
        return ""
    rows = [
        (
            escape(one.device), _number(one.memory_mib), _number(one.leased_mib), _number(one.holders),
            '<span class="bad">draining</span>' if one.draining else "",
        )
        for one in status.devices
    ]  # fmt: skip
    waiting = f"<p>{status.gpu_waiters} waiting.</p>"
    return "<h2>GPUs</h2>" + waiting + _table(("device", "MiB", "leased", "leases", ""), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _state(state: str) -> str:
    return f'<span class="{"good" if state in _GOOD else "bad"}">{escape(state)}</span>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _text(value: str | None) -> str:
    return escape(value or "")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
