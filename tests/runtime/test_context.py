"""Ids: which of a peer's are kept, and how long they are bound."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import context

GOOD_TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@given(st.text())
def test_a_request_id_is_always_printable(offered: str) -> None:
    """Whatever a peer sends, the id in logs and headers is short and plain; a good one is kept."""
    accepted = context.accepted_request_id(offered)
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", accepted)
    if re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", offered):
        assert accepted == offered


@pytest.mark.parametrize(
    "hostile", ["", "a b", "a\n", "a\r\nx: y", "\x1b[31m", "é", "a" * 129, "${jndi:x}", "a\x00"]
)
def test_hostile_request_ids_are_replaced(hostile: str) -> None:
    """Line ends, escapes, markup and over-long ids do not reach a log."""
    assert re.fullmatch(r"[0-9a-f]{32}", context.accepted_request_id(hostile))


@pytest.mark.parametrize(
    "hostile",
    [
        None, "", "00", GOOD_TRACE + "\n", GOOD_TRACE.upper(), "01" + GOOD_TRACE[2:], GOOD_TRACE + "-x",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01", "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_a_bad_traceparent_starts_a_new_trace(hostile: str | None) -> None:
    """W3C: malformed or all-zero contexts are dropped; the new one is well formed and unsampled."""
    made = context.accepted_traceparent(hostile)
    assert made != hostile
    assert context.accepted_traceparent(made) == made
    assert made.endswith("-00")


def test_a_good_traceparent_is_kept_and_gives_the_trace_id() -> None:
    """The caller's trace goes on."""
    with context.bound(trace=context.accepted_traceparent(GOOD_TRACE)):
        assert context.trace_id() == "a" * 32
    assert context.trace_id() == ""


async def test_ids_belong_to_one_task() -> None:
    """Bound ids end with their block, nest, and are not seen by a task that runs beside it."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def holder() -> str:
        with context.bound(request="mine", task="task-1"):
            entered.set()
            await leave.wait()
            with context.bound(request="inner"):
                assert (context.request_id.get(), context.task_id.get()) == ("inner", "task-1")
            return context.request_id.get()

    running = asyncio.create_task(holder())
    await entered.wait()
    assert context.request_id.get() == ""
    leave.set()
    assert await running == "mine"
