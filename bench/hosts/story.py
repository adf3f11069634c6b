"""`python -m bench.hosts.story …`: the story itself, in namespaces of its own (`bench.hosts` makes them and starts this)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from standardwebhooks.webhooks import Webhook

from bench.chaos.judge import Evidence, Verdict, judge, read_journal
from bench.chaos.load import INSISTENT, Clients, Outcome, make_tasks
from bench.chaos.receivers import TEMPERS, Receivers
from bench.hosts.doors import holes
from bench.hosts.faults import PLAN, HostNemesis
from bench.hosts.installation import HostsInstallation
from bench.hosts.network import CLIENTS
from bench.hosts.pulse import Pulse
from bench.hosts.sabotage import BREAKS
from runtime.logs import configure_logs
from yivideo_client import AsyncClient, Connection

_SETTLE_SECONDS = 120.0
_TYPES_SECONDS = 30.0
_TOLD = 25
_LAWS = (
    "lost", "double_published", "overlapping_attempts", "work_after_end", "non_terminal", "orphans",
    "callback_mismatch", "stream_mismatch", "unexpected_failures", "refused_requests",
)  # fmt: skip
"""Of `make chaos`; the others speak of lone kills and orderly restarts, which this story has none of."""


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


class Story:
    """One telling."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._folder = folder
        self._given = given
        self._receivers = Receivers()
        self._receivers.addresses = {temper: f"{CLIENTS}:{_free_port()}" for temper in TEMPERS}
        self.installation = HostsInstallation(
            folder, self._receivers.addresses, min_replicas=given.min_replicas
        )
        self._receivers.webhook = Webhook(self.installation.secret)
        self._nemesis = HostNemesis(self.installation, say)
        self.figures: dict[str, Any] = {}

    async def tell(self) -> Verdict:
        """Set the stage, let clients and nemesis loose on it, wait until all has settled, and judge."""
        journal = self._folder / "journal.jsonl"
        installation, headers = self.installation, {"X-API-Key": self.installation.key}
        async with self._receivers.listening():
            async with (
                installation.running(),
                aiohttp.ClientSession(
                    installation.url, headers=headers, connector=aiohttp.TCPConnector(limit=300)
                ) as session,
                AsyncClient(Connection(installation.url, installation.key), backoff=INSISTENT) as client,
            ):
                await _wait_for_types(session)
                say("up        every process is ready, on a host of its own")
                found = await holes(installation)
                say(f"doors     {len(found)} stand open that should not, or shut")
                for hole in found:
                    say(f"HOLE      {hole}")
                clients, pulse = Clients(client, self._receivers, str(journal)), Pulse(session)
                outcomes = await self._play(clients, pulse)
                await self._settle(clients, outcomes)
                gone = await pulse.lost()
                survivors = installation.trees()
            survivors |= installation.processes()
        with journal.open() as lines:
            runs = read_journal(lines)
        offset = time.time() - time.monotonic()
        verdict = judge(
            Evidence(
                outcomes, runs, self._receivers.deliveries, self._nemesis.strikes, len(survivors), offset
            )
        )
        for task_id in gone:
            verdict.breach("lost", f"{task_id} was accepted and is not there")
        self._measure(pulse, found)
        return verdict

    async def _play(self, clients: Clients, pulse: Pulse) -> list[Outcome]:
        began = time.monotonic()
        for fault in PLAN.faults:
            say(f"  {fault.at:6.1f} s  {fault.kind:7} {fault.target} {fault.seconds or ''}")
        planned = make_tasks(self._given.seed, self._given.tasks, PLAN)
        outcomes, _, _ = await asyncio.gather(
            clients.run(planned, began), self._nemesis.carry_out(PLAN, began), pulse.beat(PLAN.seconds)
        )
        return outcomes

    async def _settle(self, clients: Clients, outcomes: list[Outcome]) -> None:
        began = time.monotonic()
        await clients.settle(outcomes, _SETTLE_SECONDS)
        say(f"settled   {time.monotonic() - began:.0f} s after the last fault and the last client")
        if self._given.broken:
            BREAKS[self._given.broken](self.installation, outcomes)
            say(f"broken    {self._given.broken}, on purpose")
            await clients.settle(outcomes, _SETTLE_SECONDS)

    def _measure(self, pulse: Pulse, found: list[str]) -> None:
        waits = []
        for failover in self._nemesis.failovers:
            waits.append(pulse.back_after(failover.began))
            say(
                f"failover  {failover.how}: the next primary after {failover.ended - failover.began:.2f} s, "
                f"the next task accepted after {waits[-1]:.2f} s"
            )
        guest = sum(
            1 for line in _log_lines(self._folder) if "node replica in sight" in line and "10.77.0.23" in line
        )
        self.figures = {
            "failover_seconds": round(max(waits, default=float("inf")), 2),
            "failovers": len(waits),
            "pulses_accepted": pulse.accepted,
            "policy_holes": len(found),
            "guest_seen": guest,
        }


def _log_lines(folder: Path) -> list[str]:
    return [
        line for file in (folder / "logs").glob("scheduler*.log") for line in file.read_text().splitlines()
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


async def _wait_for_types(session: aiohttp.ClientSession) -> None:
    """Wait until both schedulers have learned what the nodes offer: before that they would refuse tasks as unknown."""
    give_up, times = time.monotonic() + _TYPES_SECONDS, 0
    while times < 10:
        async with session.get("/v1/task-types") as answer:
            text = await answer.text()
        times = times + 1 if "forge.chain" in text and "anvil.chain" in text else 0
        if time.monotonic() > give_up:
            raise TimeoutError(f"the schedulers know too little: {text[:500]}")
        await asyncio.sleep(0.1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.hosts", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeats a load; default: a new one")
    parser.add_argument("--tasks", type=int, default=300, help="how many, default 300")
    parser.add_argument("--keep", action="store_true", help="keep logs and journal")
    parser.add_argument(
        "--break", dest="broken", choices=sorted(BREAKS), help="break this law, to see that it is noticed"
    )
    parser.add_argument("--min-replicas", type=int, default=1, help="scheduler.min_replicas, default 1")
    given = parser.parse_args()
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000)
    return given


def main() -> int:
    """Run the program."""
    given = _arguments()
    configure_logs("hosts", level="error", log_format="console")
    folder = Path(tempfile.mkdtemp(prefix="yivideo-hosts-"))
    say(
        f"seed {given.seed}: {given.tasks} tasks, {len(PLAN.faults)} faults in {PLAN.seconds:.0f} s; logs in {folder}"
    )
    began = time.monotonic()
    story = Story(folder, given)
    verdict = asyncio.run(story.tell())
    for complaint in verdict.complaints[:_TOLD]:
        say(f"BROKEN    {complaint}")
    laws = {law: getattr(verdict, law) for law in _LAWS}
    figures = story.figures
    holds = not any(laws.values()) and not figures["policy_holes"] and figures["failovers"] == 3
    holds = holds and figures["guest_seen"] >= 2 and figures["failover_seconds"] != float("inf")
    if holds and not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"kept      {folder}")
    result = {
        "seed": given.seed,
        "tasks": verdict.tasks,
        **laws,
        **figures,
        "seconds": round(time.monotonic() - began, 1),
    }
    say(f"RESULT {json.dumps(result)}")
    return 0 if holds else 1


if __name__ == "__main__":
    os.environ.pop("YIVIDEO_CONFIG", None)
    sys.exit(main())
