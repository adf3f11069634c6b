"""Spans: what a trace says of one piece of work. Nothing here is exported, and nothing of OpenTelemetry is imported.

A span is open for the time of a block, and while it is, `runtime.context.traceparent` names it: calls out, log lines and tasks that
are stored carry it by themselves. Without a recorder (traces are off) and in traces that are not sampled there are no spans at all.

A span's id may be chosen by its maker (`derived_id`): so one that begins in one process can end in another, which has never met the
first, and its children find it. The recorder gets spans when they end.

What a span says is read by people who may not read tasks: ids of tasks, names of types and engines, sizes, codes. Never a path, a
URL, a user or a text (ADR 25).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from runtime import context as ids

Value = str | int | float | bool


class Kind(Enum):
    """On which side of a call the work is, in the words of OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(slots=True)
class Span:
    """One piece of work. Ids are hexadecimal, times Unix nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: the root of its trace."""
    kind: Kind = Kind.INTERNAL
    start_ns: int = 0
    end_ns: int = 0
    attributes: dict[str, Value] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    """Ids of spans of the same trace that it follows, without being a part of them."""
    error: str = ""
    """A stable code; empty: it went well."""
    tracestate: str = ""

    @property
    def traceparent(self) -> str:
        """How calls name it as their parent."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def end(self, error: str = "", end_ns: int = 0) -> None:
        """Hand it to the recorder; `error` is a stable code."""
        self.error = error or self.error
        self.end_ns = end_ns or time.time_ns()
        if _Process.recorder is not None:
            _Process.recorder.record(self)


class Recorder(Protocol):
    """What becomes of spans. Neither method waits or raises."""

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded."""

    def record(self, span: Span) -> None:
        """Take a span that has ended."""


class _Process:
    """What this process does with spans."""

    recorder: Recorder | None = None


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record this process's spans for the time of the block."""
    before, _Process.recorder = _Process.recorder, recorder
    try:
        yield
    finally:
        _Process.recorder = before


def is_on() -> bool:
    """Whether this process records spans."""
    return _Process.recorder is not None


def begin(name: str, kind: Kind = Kind.INTERNAL, **attributes: Value) -> Span | None:
    """Begin a span under the current one; None when this trace is not recorded. Attributes are named `yivideo.<name>`."""
    if _Process.recorder is None or not ids.is_sampled():
        return None
    _, trace, parent, _ = ids.traceparent.get().split("-")
    return _made(name, kind, trace, parent, attributes)


def begin_root(name: str, kind: Kind, **attributes: Value) -> Span | None:
    """Begin a new trace, if one is to be recorded now; else the current context names one that is not."""
    trace = secrets.token_hex(16)
    ids.tracestate.set("")
    if _Process.recorder is None or not _Process.recorder.samples(trace):
        ids.traceparent.set(f"00-{trace}-{secrets.token_hex(8)}-00")
        return None
    return _made(name, kind, trace, "", attributes)


def _made(name: str, kind: Kind, trace: str, parent: str, attributes: dict[str, Value]) -> Span:
    named = {f"yivideo.{key}": value for key, value in attributes.items()}
    return Span(
        name, trace, secrets.token_hex(8), parent, kind, time.time_ns(),
        attributes=named, tracestate=ids.tracestate.get(),
    )  # fmt: skip


@contextmanager
def span(name: str, kind: Kind = Kind.INTERNAL, **attributes: Value) -> Iterator[Span | None]:
    """Have a span for the time of the block; None when there is none. An exception makes it a failed one and goes on."""
    opened = begin(name, kind, **attributes)
    if opened is None:
        yield None
        return
    outside = ids.traceparent.set(opened.traceparent)
    try:
        yield opened
    except BaseException as error:
        opened.error = code_of(error)
        raise
    finally:
        with suppress(ValueError):  # an abandoned generator is closed wherever it is found
            ids.traceparent.reset(outside)
        opened.end()


def code_of(error: BaseException) -> str:
    """Return what a span says of an exception: its stable code, or its type; its text may quote what does not belong here."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__name__


def derived_id(*parts: object) -> str:
    """Return the span id that stands for these words, the same in every process."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest()
