"""`python -m bench.chaos [--seed N] [--tasks N] [--keep]`: tell one story and judge it; the exit code is 1 when a promise broke."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from bench.chaos.faults import Plan, make_plan
from bench.chaos.installation import Installation
from bench.chaos.judge import Evidence, Verdict, judge, read_journal
from bench.chaos.load import INSISTENT, Clients, Outcome, make_tasks
from bench.chaos.nemesis import Nemesis
from bench.chaos.receivers import Receivers
from runtime.logs import configure_logs
from yivideo_client import AsyncClient

_SETTLE_SECONDS = 120.0
_TOLD = 25


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


async def tell(seed: int, tasks: int, folder: Path) -> Verdict:
    """Set the stage, let clients and nemesis loose on it, wait until all has settled, and judge."""
    plan = make_plan(seed, tasks)
    say(f"seed {seed}: {tasks} tasks, {len(plan.faults)} faults in {plan.seconds:.0f} s; logs in {folder}")
    receivers = Receivers()
    installation = Installation(folder, list(receivers.addresses.values()))
    receivers.webhook = Webhook(installation.secret)
    journal = folder / "journal.jsonl"
    nemesis = Nemesis(installation, receivers)
    async with receivers.listening():
        async with (
            installation.running(),
            AsyncClient(installation.url, backoff=INSISTENT) as client,
        ):
            clients = Clients(client, receivers, str(journal))
            outcomes = await _play(clients, nemesis, plan, seed, tasks)
            settle_began = time.monotonic()
            await clients.settle(outcomes, _SETTLE_SECONDS)
            say(f"settled   {time.monotonic() - settle_began:.0f} s after the last fault and the last client")
            survivors = installation.trees()
        survivors |= installation.processes()
    with journal.open() as lines:
        runs = read_journal(lines)
    offset = time.time() - time.monotonic()
    return judge(Evidence(outcomes, runs, receivers.deliveries, nemesis.strikes, len(survivors), offset))


async def _play(clients: Clients, nemesis: Nemesis, plan: Plan, seed: int, tasks: int) -> list[Outcome]:
    began = time.monotonic()
    for fault in plan.faults:
        say(
            f"  {fault.at:6.1f} s  {fault.kind:7} {fault.target} {fault.seconds or ''}{' (alone)' if fault.alone else ''}"
        )
    planned = make_tasks(seed, tasks, plan)
    outcomes, _ = await asyncio.gather(clients.run(planned, began), nemesis.carry_out(plan, began))
    hits = sum(strike.hit for strike in nemesis.strikes)
    say(f"struck    {hits} of {len(plan.faults)} faults found their target")
    return outcomes


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a plan; default: a new one")
    parser.add_argument("--tasks", type=int, default=1000, help="how many, default 1000")
    parser.add_argument("--keep", action="store_true", help="keep logs and journal")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    configure_logs("chaos", level="error", log_format="console")
    folder = Path(tempfile.mkdtemp(prefix="yivideo-chaos-"))
    began = time.monotonic()
    verdict = asyncio.run(tell(seed, given.tasks, folder))
    for complaint in verdict.complaints[:_TOLD]:
        say(f"BROKEN    {complaint}")
    if len(verdict.complaints) > _TOLD:
        say(f"          … and {len(verdict.complaints) - _TOLD} more")
    if verdict.holds and not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"kept      {folder}")
    result = {"seed": seed, **verdict.to_result(), "seconds": round(time.monotonic() - began, 1)}
    say(f"RESULT {json.dumps(result)}")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    os.environ.pop("YIVIDEO_CONFIG", None)
    sys.exit(main())
