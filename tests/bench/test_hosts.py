"""The ground on which `make story-hosts` stands: hosts that are cut, doors that are shut, and nothing that outlives the story."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bench.hosts.network import HOSTS
from bench.hosts.sandbox import why_not
from bench.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=f"no hosts here: {why_not()}")]

_INSIDE = "import sys; from bench.hosts.sandbox import run_inside; sys.exit(run_inside([sys.executable, *sys.argv[1:]]))"

_NETWORK = """
import asyncio, socket
from bench.hosts.knock import reaches
from bench.hosts.network import CLIENTS, HOSTS, Arrow, Network

network = Network([Arrow((CLIENTS,), "gateway", 80), Arrow((HOSTS["node-a"],), "gateway", 81)])
network.make()
network.apply()

def state():
    '''open: the packet arrives, and nobody listens; shut: it does not.'''
    def one(port):
        with socket.socket() as knock:
            knock.settimeout(0.3)
            try:
                knock.connect((HOSTS["gateway"], port))
            except ConnectionRefusedError:
                return "open"
            except OSError:
                return "shut"
    return one(80), one(81)

said = [state()]
network.cut("gateway"); said.append(state()); network.heal("gateway"); said.append(state())
network.unplug("gateway"); said.append(state()); network.plug("gateway"); said.append(state())
print(said)
"""


def inside(*argv: str) -> subprocess.Popen[str]:
    """Start a program of ours in namespaces of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _INSIDE, *argv], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_hosts_take_what_an_arrow_names_and_nothing_while_they_are_cut_off() -> None:
    """A packet passes where an arrow says so, from whom it says, and while neither nftables nor the switch keep it."""
    with inside("-c", textwrap.dedent(_NETWORK)) as program:
        told, _ = program.communicate(timeout=60)
    named, cut = "('open', 'shut')", "('shut', 'shut')"
    assert told.strip() == f"[{named}, {cut}, {named}, {cut}, {named}]"


def test_nothing_is_left_of_a_story_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the first process takes hosts and processes with it, those in sessions of their own too."""
    script = """
        import subprocess, sys, time
        from bench.hosts.network import Network, within
        Network().make()
        for host in ("gateway", "node-a"):
            subprocess.Popen([*within(host), "sleep", "86399"], start_new_session=True)
        print("ready", flush=True)
        time.sleep(600)
    """
    with inside("-c", textwrap.dedent(script)) as program:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        try:
            give_up = time.monotonic() + 10
            while sleepers() != 2:  # each becomes one when it is in its namespace
                assert time.monotonic() < give_up, "the hosts' programs have not started"
                time.sleep(0.02)
        finally:
            os.kill(program.pid, signal.SIGKILL)
    give_up = time.monotonic() + 10
    while sleepers():
        assert time.monotonic() < give_up, "a process outlived the story"
        time.sleep(0.02)
    assert not [name for name in HOSTS if (Path("/run/netns") / name).exists()]


def sleepers() -> int:
    """Count the processes of the story above."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                count += (entry / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", b"86399"]
            except OSError:
                continue
    return count
