"""The plan of a chaos story: repeatable, bounded, and calm where something is measured."""

from __future__ import annotations

import pytest

from bench.chaos.faults import AT_ONCE, CALM_SECONDS, INSTALLATION, NODES, SCHEDULERS, make_plan
from bench.chaos.load import make_tasks


@pytest.mark.parametrize("tasks", [100, 1000])
def test_a_seed_repeats_its_plan_and_its_tasks(tasks: int) -> None:
    """The same seed gives the same story, another one another."""
    plan = make_plan(7, tasks)
    assert plan == make_plan(7, tasks) != make_plan(8, tasks)
    planned = make_tasks(7, tasks, plan)
    assert planned == make_tasks(7, tasks, plan) != make_tasks(8, tasks, plan)
    assert len({task.task_id for task in planned}) == tasks


@pytest.mark.parametrize("seed", range(20))
def test_nothing_else_is_broken_while_a_lone_kill_is_measured(seed: int) -> None:
    """Every storm's faults are over before, and the next one begins only after the promised time."""
    for tasks in (100, 1000):
        plan = make_plan(seed, tasks)
        alone = [fault for fault in plan.faults if fault.alone and not fault.orderly]
        assert alone and {fault.kind for fault in alone} == {"kill"}
        for calm in alone:
            for other in plan.faults:
                if other is not calm:
                    assert other.at + other.seconds < calm.at or other.at >= calm.at + CALM_SECONDS


@pytest.mark.trial("10.1")
@pytest.mark.parametrize("seed", range(20))
def test_a_story_ends_with_orderly_restarts_of_everything(seed: int) -> None:
    """A long one restarts every part and the installation in both ways, a short one the installation; no fault comes after them."""
    plan = make_plan(seed, 1000)
    orderly = [fault for fault in plan.faults if fault.orderly]
    assert plan.faults[-len(orderly) :] == tuple(orderly)
    targets = {fault.target for fault in orderly}
    assert targets >= {"gateway", "filestore", "redis", INSTALLATION, AT_ONCE}
    assert targets & set(NODES[:2]) and targets & set(SCHEDULERS)
    (last,) = [fault for fault in make_plan(seed, 100).faults if fault.orderly]
    assert last.target in (INSTALLATION, AT_ONCE)


@pytest.mark.parametrize("seed", range(20))
def test_a_long_story_has_every_kind_of_fault(seed: int) -> None:
    """A thousand tasks meet all that the nemesis can do, and last no longer than six minutes."""
    plan = make_plan(seed, 1000)
    assert plan.seconds < 360
    assert {fault.kind for fault in plan.faults} >= {
        "kill",
        "freeze",
        "slay",
        "stun",
        "hole",
        "sever",
        "drain",
    }
    alone = {fault.target for fault in plan.faults if fault.alone}
    assert alone & set(NODES) and alone & set(SCHEDULERS)
    cut = [fault for fault in plan.faults if fault.kind == "hole" and fault.seconds > 60]
    assert len({fault.target.split("/")[0] for fault in cut}) == 2, "one node is cut off from both"
