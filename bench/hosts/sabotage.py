"""Breaks a law behind the system's back, to see that the story notices: a judge that cannot condemn proves nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

from bench.chaos.kept_parts import INSTALLATION_VARIABLE
from bench.chaos.load import Outcome
from bench.hosts.installation import HostsInstallation
from runtime.program import dying_with_us
from scheduler.queue.keys import Keys
from scheduler.settings import SchedulerSection


def forget(installation: HostsInstallation, outcomes: Sequence[Outcome]) -> None:
    """Take an accepted task's record out of Redis."""
    keys = Keys(SchedulerSection().key_prefix)
    victim = next(one.task.task_id for one in outcomes if one.state == "completed")
    with installation.redis.client(installation.redis.primary()) as client:
        client.delete(keys.task(victim))


def overwrite(installation: HostsInstallation, outcomes: Sequence[Outcome]) -> None:
    """Write another run's name into a stored result."""
    victim = next(one for one in outcomes if one.state == "completed" and one.task.store)
    for path in (installation.folder / "files").rglob("*"):
        if path.is_file() and path.stat().st_size < 4096 and path.read_bytes() == victim.run.encode():
            path.write_bytes(victim.run[:-1].encode() + b"x")


def leave(installation: HostsInstallation, outcomes: Sequence[Outcome]) -> None:
    """Leave a process behind."""
    del outcomes
    subprocess.Popen(
        [*dying_with_us("KILL"), "sleep", "600"],
        env={**os.environ, INSTALLATION_VARIABLE: str(installation.folder)},
        start_new_session=True,
    )


BREAKS: dict[str, Callable[[HostsInstallation, Sequence[Outcome]], None]] = {
    "lost": forget,
    "double_published": overwrite,
    "orphans": leave,
}
"""Law → what breaks it."""
