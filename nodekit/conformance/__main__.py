"""Judges a node in any language: `python -m nodekit.conformance ADDRESS --task NAME --input JSON --long-input JSON`.

Exit status: 0 every law that was judged is kept, 1 a law is broken, 2 the node cannot be reached or the arguments are wrong. A
token is taken from YIVIDEO_RUNTIME__TOKEN, as every process takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from typing import Any

from nodekit.conformance.judge import Finding, all_laws, judge
from nodekit.conformance.node_caller import Example, NodeCaller
from runtime.channel import open_channel
from runtime.settings import ProcessSettings, RuntimeSection, load_settings

_MARKS = {"kept": "kept   ", "broken": "BROKEN ", "not judged": "-      "}


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m nodekit.conformance",
        description="Judges a node, in whatever language, by the laws of protos/yivideo/task/v1/task.proto.",
    )
    parser.add_argument("address", help="host:port or unix:/path of the node")
    parser.add_argument("--task", default="", help="name of a task that it can run")
    parser.add_argument(
        "--input", type=_object, default={}, help="input with which the task completes (JSON)"
    )
    parser.add_argument(
        "--long-input", type=_object, default=None, help="input with which it runs for a minute (JSON)"
    )
    parser.add_argument("--run-seconds", type=float, default=60.0, help="how long --input may take (60)")
    parser.add_argument(
        "--orphan-seconds", type=float, default=15.0, help="the node's grace time for unwatched work (15)"
    )
    parser.add_argument("--reach-seconds", type=float, default=10.0, help="how long to try to reach it (10)")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        choices=[law.name for law in all_laws()],
        help="judge these laws alone",
    )
    return parser.parse_args(arguments)


async def main(arguments: list[str]) -> int:
    """Judge; gives the exit status."""
    told = parse(arguments)
    runtime = load_settings(ProcessSettings).runtime
    if not await _is_reached(told.address, runtime, told.reach_seconds):
        print(f"conformance: nobody answers at {told.address}", file=sys.stderr)
        return 2
    example = Example(told.task, told.input, told.long_input, told.run_seconds)
    caller = NodeCaller(told.address, runtime, example, orphan_seconds=told.orphan_seconds)
    try:
        findings = await judge(caller, told.only, _show)
    finally:
        await caller.aclose()
    counts = Counter(finding.outcome for finding in findings)
    result = {
        "laws_kept": counts["kept"],
        "laws_broken": [finding.law for finding in findings if finding.outcome == "broken"],
        "laws_not_judged": counts["not judged"],
    }
    print("RESULT", json.dumps(result, separators=(",", ":")))
    return 1 if counts["broken"] else 0


def _show(finding: Finding) -> None:
    print(f"{_MARKS[finding.outcome]} {finding.law:<16} {finding.text}", flush=True)


async def _is_reached(address: str, runtime: RuntimeSection, seconds: float) -> bool:
    async with open_channel(address, runtime) as channel:
        try:
            async with asyncio.timeout(seconds):
                await channel.channel_ready()
        except TimeoutError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
