"""The judge: reads what tasks, clients, receivers and nemesis wrote down, and counts every breach of what YiVideo promises.

It believes no word of the system about itself that the journals can prove or disprove. Pure: no clock, no process, no network.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from bench.chaos.faults import NODES, SCHEDULERS, SLOTS
from bench.chaos.load import DOOMED, Outcome
from bench.chaos.nemesis import Strike
from bench.chaos.receivers import Delivery
from results.states import TERMINAL_EVENTS, TERMINAL_STATES

RESTART_SECONDS = 16.0
BACK_SECONDS = 15.0
MAX_WORKER_LOST = 3
UNLUCKY = "UNLUCKY"
"""What attempts fail with that are told to."""
_DEATH_SECONDS = 1.0
"""A run whose last line is that close to its node's death died with it: a beat, and the time until the kernel got to it."""
_CLOCK_SECONDS = 0.15
"""How much later than its task's end a line may be written: two clocks are compared."""
_CALLBACK_STATUS = {"skipped": "completed"}


@dataclass
class Interval:
    """One run of an effect, as its journal shows it."""

    run: str
    task_id: str
    attempt: int
    start: float
    last: float
    ended: bool = False


@dataclass(frozen=True)
class Evidence:
    """All that the judge may look at."""

    outcomes: Sequence[Outcome]
    runs: Sequence[Interval]
    deliveries: Sequence[Delivery]
    strikes: Sequence[Strike]
    survivors: int
    """Processes that were left when everything had ended."""
    wall_offset: float
    """Wall-clock time less CLOCK_MONOTONIC."""


@dataclass
class Verdict:
    """Counts of breaches, and the figures. `complaints` says what each breach was."""

    tasks: int = 0
    lost: int = 0
    double_published: int = 0
    overlapping_attempts: int = 0
    work_after_end: int = 0
    non_terminal: int = 0
    orphans: int = 0
    callback_mismatch: int = 0
    stream_mismatch: int = 0
    unexpected_failures: int = 0
    refused_requests: int = 0
    killed_scheduler_restarts: int = 0
    restart_losses: int = 0
    """Attempts that counted as lost although nothing but orderly restarts befell their tasks."""
    restart_dead_letters: int = 0
    """Tasks that became dead letters by them."""
    restart_max_seconds: float = 0.0
    """From the moment at which a restarted installation serves again until a task that it had to stop runs again."""
    restarts_measured: int = 0
    """Running tasks that an orderly restart met."""
    node_restart_max_seconds: float = 0.0
    """From a lone kill of a node until its task runs again, less the time in which the slots that were left were all taken."""
    node_rerun_max_seconds: float = 0.0
    """The same with that time."""
    node_restarts_measured: int = 0
    scheduler_kills_measured: int = 0
    """Running tasks that a lone kill of a scheduler met."""
    complaints: list[str] = field(default_factory=list)

    _LAWS = (
        "lost", "double_published", "overlapping_attempts", "work_after_end", "non_terminal", "orphans",
        "callback_mismatch", "stream_mismatch", "unexpected_failures", "refused_requests", "killed_scheduler_restarts",
        "restart_losses", "restart_dead_letters",
    )  # fmt: skip

    @property
    def holds(self) -> bool:
        """Whether every promise was kept, and was put to the test."""
        return (
            not any(getattr(self, law) for law in self._LAWS)
            and self.node_restart_max_seconds <= RESTART_SECONDS
            and self.node_restarts_measured > 0
            and self.restart_max_seconds <= BACK_SECONDS
            and self.restarts_measured > 0
        )

    def to_result(self) -> dict[str, float | int]:
        """Return the figures for the RESULT line."""
        figures = asdict(self)
        del figures["complaints"]
        return figures

    def breach(self, law: str, text: str) -> None:
        """Count one breach of a law and keep what it was."""
        setattr(self, law, getattr(self, law) + 1)
        self.complaints.append(f"{law}: {text}")


def read_journal(lines: Iterable[str]) -> list[Interval]:
    """Put a journal's lines together to runs."""
    runs: dict[str, Interval] = {}
    for text in lines:
        line = json.loads(text)
        run = runs.setdefault(
            line["run"], Interval(line["run"], line["task"], line["attempt"], line["time"], line["time"])
        )
        run.last = max(run.last, line["time"])
        run.ended = run.ended or line["mark"] == "end"
    return sorted(runs.values(), key=lambda run: run.start)


def judge(evidence: Evidence) -> Verdict:
    """Count every breach."""
    verdict = Verdict(tasks=len(evidence.outcomes))
    runs: dict[str, list[Interval]] = defaultdict(list)
    for run in evidence.runs:
        runs[run.task_id].append(run)
    deliveries: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in evidence.deliveries:
        deliveries[delivery.task_id].append(delivery)
    for outcome in evidence.outcomes:
        mine = runs[outcome.task.task_id]
        _judge_requests(verdict, outcome)
        _judge_runs(verdict, outcome, mine, evidence.wall_offset)
        if not outcome.accepted:
            continue
        _judge_state(verdict, outcome, mine)
        _judge_events(verdict, outcome)
        _judge_callbacks(verdict, outcome, deliveries[outcome.task.task_id])
    for _ in range(evidence.survivors):
        verdict.breach("orphans", "a process outlived everything")
    for strike in evidence.strikes:
        if strike.fault.alone and strike.hit and not strike.fault.orderly:
            _judge_kill(verdict, strike, evidence.outcomes, runs)
    _judge_restarts(verdict, evidence, runs)
    return verdict


def _judge_restarts(verdict: Verdict, evidence: Evidence, runs: dict[str, list[Interval]]) -> None:
    """Look at the tasks that met nothing but orderly restarts: nothing may count against them, and they run on soon."""
    faults = [strike for strike in evidence.strikes if not strike.fault.orderly]
    calm = max((strike.ended for strike in faults), default=0.0)
    orderly = [strike for strike in evidence.strikes if strike.fault.orderly and strike.began > calm]
    for outcome in evidence.outcomes if orderly else ():
        mine = runs[outcome.task.task_id]
        if not mine or mine[0].start <= calm:
            continue
        met = [(strike, run) for strike in orderly for run in mine if run.start < strike.began <= run.last]
        verdict.restarts_measured += len(met)
        if outcome.error_code == "WORKER_LOST":
            verdict.breach("restart_dead_letters", f"{outcome.task.task_id} is a dead letter")
        elif outcome.worker_lost:
            verdict.breach("restart_losses", f"{outcome.task.task_id}: {outcome.worker_lost} attempts lost")
        for strike, run in met:
            again = [later.start for later in mine if later.start > run.last]
            if strike.fault.kind == "restart" and again and not run.ended:
                seconds = round(max(0.0, again[0] - strike.ended), 2)
                verdict.restart_max_seconds = max(verdict.restart_max_seconds, seconds)
                if seconds > BACK_SECONDS:
                    verdict.complaints.append(
                        f"restart: {outcome.task.task_id} ran again after {seconds:.1f} s"
                    )


def _judge_requests(verdict: Verdict, outcome: Outcome) -> None:
    if outcome.refusal:
        verdict.breach("refused_requests", f"{outcome.task.task_id}: {outcome.refusal}")


def _judge_runs(verdict: Verdict, outcome: Outcome, runs: list[Interval], wall_offset: float) -> None:
    task_id = outcome.task.task_id
    latest: Interval | None = None
    for run in runs:
        if latest is not None and run.start < latest.last:
            both = latest.last - run.start
            verdict.breach("overlapping_attempts", f"{task_id}: {latest.run} and {run.run}, {both:.2f} s")
        if latest is None or run.last > latest.last:
            latest = run
    if outcome.ended_time and latest is not None:
        late = latest.last + wall_offset - outcome.ended_time
        if late > _CLOCK_SECONDS:
            verdict.breach(
                "work_after_end", f"{task_id}: {latest.run} wrote {late:.2f} s after {outcome.state}"
            )


def _judge_state(verdict: Verdict, outcome: Outcome, runs: list[Interval]) -> None:
    task = outcome.task
    if outcome.state == "missing":
        verdict.breach("lost", f"{task.task_id} was accepted and is not there")
    elif outcome.state not in TERMINAL_STATES:
        verdict.breach("non_terminal", f"{task.task_id} is {outcome.state}")
    elif outcome.state == "completed":
        ended = {run.run for run in runs if run.ended}
        if outcome.run not in ended:
            verdict.breach(
                "lost", f"{task.task_id} completed with {outcome.run!r}, whose end nobody wrote down"
            )
        if task.store and outcome.stored != outcome.run:
            verdict.breach(
                "double_published", f"{task.task_id} stored {outcome.stored!r}, not {outcome.run!r}"
            )
        if task.failures == DOOMED:
            verdict.breach("unexpected_failures", f"{task.task_id} should have failed")
    elif outcome.state == "failed":
        dead_letter = outcome.error_code == "WORKER_LOST" and outcome.worker_lost >= MAX_WORKER_LOST
        # An attempt that failed by itself just before its task's cancel came: it is not tried again, and its error is the end.
        stopped = bool(task.failures) and task.cancel_after is not None and outcome.error_code == UNLUCKY
        if task.failures != DOOMED and not dead_letter and not stopped:
            verdict.breach("unexpected_failures", f"{task.task_id} failed: {outcome.error_code}")
    elif task.cancel_after is None:
        verdict.breach("unexpected_failures", f"{task.task_id} is {outcome.state} and nobody asked for it")
    if outcome.cancelled_at_once and outcome.state != "cancelled":
        verdict.breach("double_published", f"{task.task_id} was said to be cancelled and is {outcome.state}")


def _judge_events(verdict: Verdict, outcome: Outcome) -> None:
    if outcome.state not in TERMINAL_STATES:
        return
    task_id, events = outcome.task.task_id, outcome.events
    ends = [name for _, name in events if name in TERMINAL_EVENTS]
    if len(ends) > 1:
        verdict.breach("double_published", f"{task_id} has the ends {ends}")
    elif ends != [_CALLBACK_STATUS.get(outcome.state, outcome.state)]:
        verdict.breach(
            "stream_mismatch", f"{task_id} is {outcome.state} and its stream ends with {events[-1:]}"
        )
    # Checkpoints have numbers too, and are not shown to clients: numbers grow, and there may be holes of one.
    if any(second <= first for (first, _), (second, _) in pairwise(events)):
        verdict.breach("stream_mismatch", f"{task_id}: numbers do not grow: {events}")
    if outcome.task.watch and outcome.watched != events:
        verdict.breach("stream_mismatch", f"{task_id}: a client saw {outcome.watched}, there is {events}")


def _judge_callbacks(verdict: Verdict, outcome: Outcome, deliveries: list[Delivery]) -> None:
    task_id = outcome.task.task_id
    faults = [f"{len(deliveries)} deliveries of a callback nobody asked for"] if deliveries else []
    if outcome.task.temper:
        wanted = _CALLBACK_STATUS.get(outcome.state, outcome.state)
        faults = [
            f"a delivery says {d.status}, the task is {wanted}" for d in deliveries if d.status != wanted
        ]
        faults += ["a signature is wrong" for d in deliveries if not d.signed]
        if len({(d.webhook_id, d.digest) for d in deliveries}) > 1:
            faults.append("two different callbacks")
        if not any(d.answer == 204 for d in deliveries):
            faults.append("it never arrived")
        if outcome.callback != "sent":
            faults.append(f"the system says {outcome.callback!r}")
    if faults:
        verdict.breach("callback_mismatch", f"{task_id}: {'; '.join(sorted(set(faults)))}")


def _judge_kill(
    verdict: Verdict, strike: Strike, outcomes: Sequence[Outcome], runs: dict[str, list[Interval]]
) -> None:
    for outcome in outcomes:
        # A task that is told to fail, or to stop, has other reasons to run again, or not to.
        if outcome.task.failures or outcome.task.cancel_after is not None:
            continue
        mine = runs[outcome.task.task_id]
        struck = [run for run in mine if run.start < strike.began <= run.last + _DEATH_SECONDS / 4]
        later = [run for run in mine if run.start > strike.began]
        if not struck:
            continue
        if strike.fault.target in SCHEDULERS:
            verdict.scheduler_kills_measured += 1
            if later:
                verdict.breach(
                    "killed_scheduler_restarts", f"{outcome.task.task_id} ran again when a scheduler died"
                )
        elif later and not struck[-1].ended and struck[-1].last < strike.began + _DEATH_SECONDS:
            kind = outcome.task.name.partition(".")[0]
            others = [
                run
                for other in outcomes
                if other.task.name.startswith(f"{kind}.")
                for run in runs[other.task.task_id]
                if run.ended or run.last >= strike.began + _DEATH_SECONDS  # else it died with the node
            ]
            _measure_restart(verdict, strike, kind, later[0], others)


def _measure_restart(
    verdict: Verdict, strike: Strike, kind: str, second: Interval, others: Sequence[Interval]
) -> None:
    raw = second.start - strike.began
    replicas = sum(node.split("-")[0] == kind for node in NODES)
    until = min(second.start, strike.began + strike.fault.seconds)
    full = seconds_full(others, strike.began, until, (replicas - 1) * SLOTS)
    full += seconds_full(others, until, second.start, replicas * SLOTS)
    seconds = raw - full
    verdict.node_restarts_measured += 1
    verdict.node_restart_max_seconds = max(verdict.node_restart_max_seconds, round(seconds, 2))
    verdict.node_rerun_max_seconds = max(verdict.node_rerun_max_seconds, round(raw, 2))
    if seconds > RESTART_SECONDS:
        verdict.complaints.append(
            f"node_restart: {second.task_id} waited {seconds:.1f} s for its second run while slots were free"
        )


def seconds_full(runs: Iterable[Interval], begin: float, end: float, slots: int) -> float:
    """Return for how long, between two times, so many runs were under way at once; no slots: never."""
    changes = []
    for run in runs:
        first, last = max(begin, run.start), min(end, run.last)
        if first < last:
            changes += [(first, 1), (last, -1)]
    full, busy, since = 0.0, 0, begin
    for at, change in sorted(changes):
        if 0 < slots <= busy:
            full += at - since
        busy, since = busy + change, at
    return full
