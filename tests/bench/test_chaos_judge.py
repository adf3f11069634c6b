"""The judge of `make chaos` finds every breach that it is there to find, in made-up journals, and none in a good story."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.chaos.faults import Fault
from bench.chaos.judge import Evidence, Interval, Verdict, judge, read_journal
from bench.chaos.load import DOOMED, Outcome, PlannedTask
from bench.chaos.nemesis import Strike
from bench.chaos.receivers import Delivery

WALL = 1_000_000.0
"""Wall-clock time less monotonic time in these stories."""

EVENTS = [(1, "accepted"), (2, "started"), (4, "completed")]


def run(
    name: str = "a", start: float = 10.0, last: float = 12.0, *, ended: bool = True, task: str = "t1"
) -> Interval:
    return Interval(name, task, 1, start, last, ended)


def delivery(**changed: Any) -> Delivery:
    good = Delivery("steady", "msg_1", "t1", "completed", "d1", signed=True, answer=204, time=13.0)
    return replace(good, **changed)


def planned(**changed: Any) -> PlannedTask:
    good = PlannedTask(
        "t1", "forge.cast", 0.0, 2.0, 0, store=True, temper="steady", cancel_after=None, watch=True
    )
    return replace(good, **changed)


def outcome(task: dict[str, Any] | None = None, **changed: Any) -> Outcome:
    good: dict[str, Any] = {
        "accepted": True, "watched": list(EVENTS), "state": "completed", "run": "a", "callback": "sent",
        "events": list(EVENTS), "ended_time": WALL + 12.05, "stored": "a",
    }  # fmt: skip
    return Outcome(planned(**(task or {})), **(good | changed))


KILL = Strike(Fault(11.0, "kill", "forge", 1.0, alone=True), 11.0, 11.0, hit=True)


def killed_node(restart: float) -> Evidence:
    """A lone kill of a node at 11 s; the task's second run begins so much later."""
    runs = [run("x", last=11.01, ended=False), run("a", start=11 + restart, last=13 + restart)]
    return story(outcome(ended_time=WALL + 13.05 + restart), runs=runs, strikes=[KILL])


RESTART = Strike(Fault(100.0, "restart", "installation", 0.5, alone=True), 100.0, 105.0, hit=True)


def restarted_installation(again: float, **changed: Any) -> Evidence:
    """The installation is restarted from 100 s to 105 s; the task's second run begins so long after that."""
    runs = [run("x", 99.0, 102.0, ended=False), run("a", 105 + again, 107 + again)]
    return story(outcome(ended_time=WALL + 107.05 + again, **changed), runs=runs, strikes=[KILL, RESTART])


def good_story() -> Evidence:
    """A lone kill and an orderly restart, both met by a task that runs again in time."""
    killed, other = killed_node(5.0), restarted_installation(4.0)
    second = replace(other.outcomes[0], task=planned(task_id="t2"))
    runs = [*killed.runs, *(replace(one, task_id="t2") for one in other.runs)]
    calls = [delivery(), delivery(task_id="t2", webhook_id="msg_2")]
    return replace(
        killed, outcomes=[*killed.outcomes, second], runs=runs, strikes=[KILL, RESTART], deliveries=calls
    )


def story(*outcomes: Outcome, **changed: Any) -> Evidence:
    good: dict[str, Any] = {
        "runs": [run()],
        "deliveries": [delivery()],
        "strikes": [],
        "survivors": 0,
        "wall_offset": WALL,
    }
    return Evidence(outcomes=outcomes or (outcome(),), **(good | changed))


def breaches(verdict: Verdict) -> dict[str, int]:
    """What the judge counted, by law."""
    return {law: getattr(verdict, law) for law in Verdict._LAWS if getattr(verdict, law)}


def test_a_good_story_has_no_breach() -> None:
    """A restart after a lone kill, in time, and everything else as promised: all zero, and the verdict holds."""
    verdict = judge(good_story())
    assert (breaches(verdict), verdict.complaints) == ({}, [])
    assert (verdict.node_restart_max_seconds, verdict.node_restarts_measured) == (5.0, 1)
    assert (verdict.restart_max_seconds, verdict.restarts_measured) == (4.0, 1)
    assert verdict.holds
    for strike in (KILL, RESTART):
        assert not judge(replace(good_story(), strikes=[strike])).holds, (
            "one of the two was never put to the test"
        )
    figures = verdict.to_result()
    assert figures["lost"] == 0 and "complaints" not in figures


def test_a_restart_that_comes_too_late_breaks_the_verdict() -> None:
    """16 s is the promise."""
    verdict = judge(killed_node(16.2))
    assert not verdict.holds and verdict.node_restart_max_seconds == 16.2
    assert "waited 16.2 s" in verdict.complaints[0]


@pytest.mark.trial("10.1")
def test_a_task_that_runs_again_too_late_after_a_restart_breaks_the_verdict() -> None:
    """15 s after the installation serves again, at most."""
    verdict = judge(restarted_installation(15.3))
    assert not verdict.holds and verdict.restart_max_seconds == 15.3
    assert "ran again after 15.3 s" in verdict.complaints[0]


def test_what_a_kill_did_is_not_laid_at_a_restarts_door() -> None:
    """A task that lived through another fault may have been lost; so may one when nothing was restarted."""
    evidence = restarted_installation(4.0, worker_lost=1)
    late_kill = replace(KILL, began=99.5, ended=99.6, fault=replace(KILL.fault, alone=False))
    assert breaches(judge(replace(evidence, strikes=[late_kill, RESTART]))) == {}
    assert breaches(judge(replace(evidence, strikes=[KILL]))) == {}


def test_a_wait_for_slots_that_others_hold_is_no_late_restart() -> None:
    """While the twin of the killed node has all slots taken, nothing can restart anywhere; one slot free, and the time counts."""
    for busy, counted in ((4, 4.2), (3, 16.2)):
        others = [run(f"o{n}", 10.0 - n, 23.0 + n, task=f"other-{n}") for n in range(busy)]
        evidence = killed_node(16.2)
        kill = replace(KILL, fault=replace(KILL.fault, seconds=12.0))
        planned = [outcome({"task_id": f"other-{n}"}) for n in range(busy)]
        verdict = judge(
            replace(
                evidence,
                runs=[*evidence.runs, *others],
                outcomes=[*evidence.outcomes, *planned],
                strikes=[kill],
            )
        )
        assert (verdict.node_restart_max_seconds, verdict.node_rerun_max_seconds) == (counted, 16.2)


def test_a_cancel_that_comes_after_a_planned_failure_breaks_nothing() -> None:
    """The attempt had failed by itself: it is not tried again, and its error is the task's end."""
    given = {"watch": False, "temper": "", "failures": 1, "cancel_after": 1.0}
    ended = outcome(given, state="failed", events=[(1, "failed")], error_code="UNLUCKY")
    assert breaches(judge(story(ended, deliveries=[]))) == {}


def test_a_story_in_which_no_restart_was_measured_proves_nothing() -> None:
    """The verdict does not hold when its figure was never put to the test."""
    verdict = judge(story())
    assert breaches(verdict) == {} and not verdict.holds


BROKEN: dict[str, tuple[str, Evidence]] = {
    "an accepted task that is gone": (
        "lost", story(outcome({"temper": ""}, state="missing", events=[], watched=[]), deliveries=[]),
    ),
    "a result without its effect": ("lost", story(outcome(run="b", stored="b"))),
    "a result of a run that did not end": ("lost", story(runs=[run(ended=False)])),
    "two ends": (
        "double_published",
        story(outcome(events=[*EVENTS, (5, "completed")], watched=[*EVENTS, (5, "completed")])),
    ),
    "a file of another run": ("double_published", story(outcome(stored="b"))),
    "cancelled, and completed all the same": (
        "double_published", story(outcome({"cancel_after": 1.0}, cancelled_at_once=True)),
    ),
    "two runs at once": (
        "overlapping_attempts", story(runs=[run("x", start=9, last=10.2, ended=False), run()]),
    ),
    "a run inside another": (
        "overlapping_attempts", story(runs=[run("x", start=5, last=11.9, ended=False), run("y", 6, 7), run("a", 12, 12)]),
    ),
    "a run that outlives its task": ("work_after_end", story(runs=[run(last=12.4)])),
    "a task that never ends": (
        "non_terminal", story(outcome({"temper": ""}, state="running", events=[], watched=[]), deliveries=[]),
    ),
    "processes that are left": ("orphans", story(survivors=1)),
    "a callback that never came": ("callback_mismatch", story(deliveries=[])),
    "a callback that was always refused": ("callback_mismatch", story(deliveries=[delivery(answer=500)])),
    "a callback with another state": ("callback_mismatch", story(deliveries=[delivery(status="failed")])),
    "a callback with a wrong signature": ("callback_mismatch", story(deliveries=[delivery(), delivery(signed=False)])),
    "two bodies": ("callback_mismatch", story(deliveries=[delivery(), delivery(digest="d2")])),
    "two ids": ("callback_mismatch", story(deliveries=[delivery(), delivery(webhook_id="msg_2")])),
    "a callback nobody asked for": ("callback_mismatch", story(outcome({"temper": ""}))),
    "a delivery that the system forgot": ("callback_mismatch", story(outcome(callback="failed"))),
    "a client that missed an event": ("stream_mismatch", story(outcome(watched=EVENTS[1:]))),
    "a client that saw one twice": ("stream_mismatch", story(outcome(watched=[*EVENTS[:1], *EVENTS]))),
    "numbers that do not grow": (
        "stream_mismatch", story(outcome({"watch": False}, events=[(1, "accepted"), (1, "started"), (2, "completed")])),
    ),
    "a stream with another end": (
        "stream_mismatch", story(outcome({"watch": False}, events=[(1, "accepted"), (2, "failed")])),
    ),
    "a failure that nobody planned": (
        "unexpected_failures",
        story(outcome({"watch": False, "temper": ""}, state="failed", events=[(1, "failed")], error_code="INTERNAL"),
              deliveries=[]),
    ),
    "a dead letter that lost too few nodes": (
        "unexpected_failures",
        story(outcome({"watch": False, "temper": ""}, state="failed", events=[(1, "failed")], error_code="WORKER_LOST",
                      worker_lost=2), deliveries=[]),
    ),
    "a failure that was planned for the first of many attempts": (
        "unexpected_failures",
        story(outcome({"watch": False, "temper": "", "failures": 1}, state="failed", events=[(1, "failed")],
                      error_code="UNLUCKY"), deliveries=[]),
    ),
    "a doomed task that completed": ("unexpected_failures", story(outcome({"failures": DOOMED}))),
    "a cancel that nobody asked for": (
        "unexpected_failures",
        story(outcome({"watch": False, "temper": ""}, state="cancelled", events=[(1, "cancelled")]), deliveries=[]),
    ),
    "a good request that was refused": (
        "refused_requests", story(outcome(accepted=False, refusal="submit: 400 INVALID"), runs=[], deliveries=[]),
    ),
    "work that ran again when a scheduler died": (
        "killed_scheduler_restarts",
        story(
            outcome(ended_time=WALL + 16.0, run="b", stored="b"), runs=[run(), run("b", 14, 16)],
            strikes=[Strike(Fault(11.0, "kill", "scheduler", 1.0, alone=True), 11.0, 11.0, hit=True)],
        ),
    ),
    "an attempt that an orderly restart has lost": ("restart_losses", restarted_installation(4.0, worker_lost=1)),
    "a dead letter made by orderly restarts": (
        "restart_dead_letters",
        replace(
            restarted_installation(4.0, worker_lost=3, state="failed", error_code="WORKER_LOST", run="", stored="",
                            events=[(1, "accepted"), (4, "failed")], watched=[(1, "accepted"), (4, "failed")]),
            deliveries=[delivery(status="failed")],
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_every_breach_is_found_and_named(name: str) -> None:
    """One breach gives one count, of its own law alone, and the story does not pass."""
    law, evidence = BROKEN[name]
    verdict = judge(evidence)
    assert breaches(verdict) == {law: 1}
    assert verdict.complaints[0].startswith(f"{law}: ")
    assert not verdict.holds


def test_faults_among_others_are_not_measured() -> None:
    """A kill in a storm, or one that met nobody, says nothing about a figure."""
    for strike in (replace(KILL, hit=False), replace(KILL, fault=replace(KILL.fault, alone=False))):
        verdict = judge(replace(killed_node(20.0), strikes=[strike]))
        assert (verdict.node_restarts_measured, verdict.node_restart_max_seconds) == (0, 0.0)


def test_a_journal_gives_each_run_its_extent() -> None:
    """A run reaches from its start to its last line, and has ended only when it says so."""
    lines = [
        json.dumps({"run": name, "task": "t1", "attempt": 1, "pid": 5, "mark": mark, "time": time})
        for name, mark, time in [
            ("a", "start", 1.0), ("b", "start", 2.0), ("a", "beat", 2.5), ("b", "beat", 3.0), ("a", "end", 4.0),
        ]
    ]  # fmt: skip
    assert read_journal(lines) == [
        Interval("a", "t1", 1, 1.0, 4.0, ended=True),
        Interval("b", "t1", 1, 2.0, 3.0, ended=False),
    ]
