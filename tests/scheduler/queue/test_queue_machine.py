"""A state machine against the queue scripts: whatever is done in whatever order, and however often repeated, the laws hold.

Random steps of clients, two scheduler replicas, nodes, receivers of callbacks, the clock and the disk are made on the real
scripts in a real Redis and on a model in plain Python (`model`). After every step Redis must hold exactly what the model
calls for (`laws`): one owner, no task in two places, one terminal event, exact indexes and counters, nothing left of what
was deleted. Laws over time are with the steps: fences grow, users are served in turn, a free slot is never left empty, a
repeated script changes nothing.

The clock is a key that the scripts read in place of the server's, so that it can be stepped. A failover loses the newest writes:
the whole data set of an earlier moment is put back (DUMP and RESTORE of every key, script cache empty), while nodes and
schedulers go on with what they hold. It happens a second after the latest time seen, and the clock is not set back before the
next claim: with a clock behind *and* the last claims lost, a fence could be lower than an earlier one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from redislink.lua import Library, read_lua
from tests.scheduler.queue import laws
from tests.scheduler.queue.attempts import REPLICAS
from tests.scheduler.queue.steps import NAMES, SCHEDULERS
from tests.scheduler.queue.trouble import TroubledSteps

tasks = st.sampled_from(NAMES)
schedulers = st.sampled_from(SCHEDULERS)
picks = st.integers(0, 11)
on = st.booleans()
old = st.sampled_from([False, False, False, True])
"""Whether an attempt that may be superseded speaks, or one that lives."""


endings = st.sampled_from(["completed", "completed", "failed", "cancelled", "unusable"])


def one(
    weight: int, name: str, /, **arguments: st.SearchStrategy[Any]
) -> tuple[int, str, st.SearchStrategy[Any]]:
    """A step: how often it is drawn, the method, and what with."""
    return weight, name, st.fixed_dictionaries(arguments)


STEPS = [
    one(7, "submit", pick=picks, priority=st.sampled_from([0, 0, -2, 5]), after=st.lists(picks, max_size=2),
        delay=st.sampled_from([0, 0, 3_000]), deadline=st.sampled_from([0, 2_000]), callback=on,
        slots=st.sampled_from([0, 0, 2, 4])),
    one(4, "submit_the_same_again", pick=picks),
    one(3, "cancel", pick=picks),
    one(2, "delete_one_that_ended", pick=picks),
    one(1, "delete", name=tasks),
    one(1, "replay", pick=picks),
    one(10, "claim", scheduler=schedulers, node=st.sampled_from(["media", "media", "voice"]), pick=picks, slots=st.integers(1, 4),
        most=st.sampled_from([1, 1, 2, 4])),
    one(8, "end", pick=picks, is_old=old, told=on, word=endings),
    one(2, "append", pick=picks, is_old=old, first=st.integers(1, 4),
        kinds=st.lists(st.sampled_from(["event", "progress", "checkpoint"]), min_size=1, max_size=3)),
    one(1, "keep_input", pick=picks, is_old=old),
    one(3, "retry", pick=picks, is_old=old, delay=st.sampled_from([0, 4_000])),
    one(3, "hand_back", pick=picks, is_old=old, begun=on),
    one(5, "lose", pick=picks, is_old=old, by_owner=st.sampled_from([True, True, True, False])),
    one(3, "beat", scheduler=schedulers, age=st.sampled_from([0, 4_000, 20_000]), stale=on),
    one(1, "adopt", pick=picks, scheduler=schedulers),
    one(4, "sweep", scheduler=schedulers),
    one(1, "abandon_late", pick=picks),
    one(2, "take_callbacks", hold=st.sampled_from([1_000, 10_000])),
    one(3, "settle_callback", pick=picks, state=st.sampled_from(["sent", "pending", "failed"]), delay=st.sampled_from([0, 5_000])),
    one(1, "redeliver", pick=picks),
    one(2, "answers_are_lost", on=on),
    one(3, "a_claim_is_repeated_late", pick=picks),
    one(1, "a_client_call_is_repeated_late", script=st.sampled_from(["submit", "cancel", "replay"])),
    one(5, "time_passes", ms=st.sampled_from([1, 700, 2_000, 4_000, 7_000, 16_000, 301_000])),
    one(1, "the_clock_is_set_back", ms=st.sampled_from([1, 5_000, 40_000])),
    one(2, "the_disk_is_written"),
    one(3, "an_older_copy_takes_over"),
]  # fmt: skip
ARGUMENTS = {name: arguments for _, name, arguments in STEPS}
WEIGHTED = [name for weight, name, _ in STEPS for _ in range(weight)]


class QueueMachine(RuleBasedStateMachine):
    """Random steps on one installation; `coverage` counts what they led to.

    One rule draws all steps: Hypothesis leaves whole rules out of most runs, and the weights here are what makes contention common.
    """

    url = ""
    library: ClassVar[Library | None] = None
    coverage: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.queue = TroubledSteps(self.url, self.library, self.coverage)

    def teardown(self) -> None:
        self.queue.close()

    @initialize(first=st.lists(tasks, min_size=5, max_size=8, unique=True), claims=st.integers(0, 4))
    def begin(self, first: list[str], claims: int) -> None:
        self.queue.begin(first, claims)

    @rule(step=st.sampled_from(WEIGHTED).flatmap(lambda name: st.tuples(st.just(name), ARGUMENTS[name])))
    def step(self, step: tuple[str, dict[str, Any]]) -> None:
        name, arguments = step
        getattr(self.queue, name)(**arguments)

    @invariant()
    def redis_holds_what_the_model_calls_for(self) -> None:
        laws.check(self.queue.model, laws.Dump(self.queue.raw))

    @invariant()
    def who_cannot_be_served_waits_for_nobody(self) -> None:
        """The bound on overtaking is for those who could be served all the time."""
        could = {(node, user) for node in REPLICAS for user in self.queue.model.claimable(node)}
        for key in [key for key in self.queue.overtaken if key[:2] not in could]:
            del self.queue.overtaken[key]


def run_machine(
    url: str,
    *,
    files: Mapping[str, str] | None = None,
    examples: int = 120,
    steps: int = 60,
    shrink: bool = True,
) -> Counter[str]:
    """Let Hypothesis look for an order of steps that breaks a law; gives how often each step came to each of its ends."""
    seen: Counter[str] = Counter()
    library = Library("scheduler", laws.with_test_clock(files or read_lua("scheduler")))
    machine = type("Machine", (QueueMachine,), {"url": url, "library": library, "coverage": seen})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=False,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    return seen


def test_the_laws_hold_in_every_order(redis_url: str) -> None:
    """Hypothesis looks for an order of steps that breaks a law."""
    run_machine(redis_url, examples=25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_laws_hold_in_every_order_for_long(redis_url: str) -> None:
    """The same with ten times as many; what the steps led to is printed."""
    seen = run_machine(redis_url, examples=250)
    print(*(f"{count:6} {what}" for what, count in sorted(seen.items())), sep="\n")
