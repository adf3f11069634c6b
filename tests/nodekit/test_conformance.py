"""The judge of nodes: it finds nothing in our own, and each fault in a node that has one."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import wave
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nodekit.conformance.__main__ import main, parse
from nodekit.conformance.judge import Finding, all_laws, judge
from nodekit.conformance.node_caller import Example, NodeCaller
from nodekit.testkit import NodeUnderTest
from services.ffmpeg.node import node as ffmpeg
from tests.nodekit.faults import FAULTS
from tests.nodekit.toy import node
from tests.nodekit.twisted import RUNTIME, Twist, twisted_node

LONG = {"text": "again", "seconds": 60}
TIMES: dict[str, Any] = {"orphan_seconds": 0.4, "heartbeat_seconds": 0.1}
PATIENCE: dict[str, float] = {"orphan_seconds": 0.4, "beat_seconds": 0.2}


async def found(
    address: str, *only: str, patience_seconds: float = 5.0, token: str | None = None
) -> list[Finding]:
    """Judge the node at an address."""
    runtime = RUNTIME.model_copy(update={"token": SecretStr(token) if token else None})
    example = Example("toy.linger", {"text": "again"}, LONG, run_seconds=patience_seconds)
    caller = NodeCaller(address, runtime, example, patience_seconds=patience_seconds, **PATIENCE)
    try:
        return await judge(caller, only)
    finally:
        await caller.aclose()


@pytest.mark.trial("10.16")
async def test_our_own_nodes_keep_every_law(tmp_path: Path) -> None:
    """A node on nodekit is found to keep all laws but the one that cannot be judged: it has no token."""
    async with NodeUnderTest(node, tmp_path, **TIMES) as under_test:
        findings = await found(under_test.address)
    assert [(one.law, one.text) for one in findings if one.outcome == "broken"] == []
    assert [one.law for one in findings if one.outcome == "not judged"] == ["token"]
    assert {one.law for one in findings} == {law.name for law in all_laws()}


@pytest.mark.trial("10.16")
async def test_the_ffmpeg_node_keeps_every_law_of_attempts(tmp_path: Path) -> None:
    """A node with files and child processes is judged like any other; what needs a long task is not judged here."""
    sound = tmp_path / "a.wav"
    with wave.open(str(sound), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(bytes(8000))
    example = Example("ffmpeg.extract_audio", {"video_path": str(sound)}, run_seconds=30)
    async with NodeUnderTest(ffmpeg, tmp_path, **TIMES) as under_test:
        caller = NodeCaller(under_test.address, RUNTIME, example, **PATIENCE)
        try:
            findings = await judge(caller)
        finally:
            await caller.aclose()
    assert [(one.law, one.text) for one in findings if one.outcome == "broken"] == []
    assert {"life", "result", "attach", "fence", "bad-input"} <= {
        one.law for one in findings if one.outcome == "kept"
    }


@pytest.mark.slow
@pytest.mark.trial("10.16")
async def test_each_fault_is_found(tmp_path: Path) -> None:
    """A node that is good but for one fault breaks the fault's law, and the judge says what it did."""
    missed = []
    async with NodeUnderTest(node, tmp_path, **TIMES) as under_test:

        async def look(twist: Twist) -> None:
            async with twisted_node(under_test.address, twist) as address:
                (finding,) = await found(address, twist.law, patience_seconds=0.6, token=twist.token)
            if finding.outcome != "broken" or twist.reason not in finding.text:
                missed.append((twist.law, twist.reason, finding.outcome, finding.text))

        for twist in FAULTS:
            await look(twist)
    assert not missed
    assert {twist.law for twist in FAULTS} == {law.name for law in all_laws()}


async def test_the_command_says_each_law_and_ends_with_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a law and a RESULT; 0 when all is kept, 1 when a law is broken, 2 when nobody answers."""
    asked = ["--task", "toy.echo", "--input", '{"text": "a"}', "--only", "life", "cancel", "health"]
    async with NodeUnderTest(node, tmp_path) as under_test:
        assert await main([under_test.address, *asked]) == 0
        lines = _lines(capsys)
        assert [line.split()[:2] for line in lines[:3]] == [
            ["kept", "health"],
            ["kept", "life"],
            ["-", "cancel"],
        ]
        told = json.loads(lines[-1].removeprefix("RESULT "))
        assert told == {"laws_kept": 2, "laws_broken": [], "laws_not_judged": 1}
        async with twisted_node(under_test.address, FAULTS[0]) as address:
            assert await main([address, "--only", "health"]) == 1
        assert '"laws_broken":["health"]' in _lines(capsys)[-1]
    assert await main(["unix:/nowhere/at/all", "--reach-seconds", "0.1"]) == 2
    with pytest.raises(SystemExit) as usage:
        await asyncio.to_thread(asyncio.run, main(["x", "--input", "[]"]))
    assert usage.value.code == 2


def test_the_pages_command_is_accepted() -> None:
    """The command of docs/a-node-in-any-language.md is one that the judge takes, and its input is an object."""
    page = (Path(__file__).parents[2] / "docs/a-node-in-any-language.md").read_text()
    (command,) = re.findall(r"^python -m nodekit\.conformance (.*)$", page, re.MULTILINE)
    told = parse(shlex.split(command))
    assert told.task and told.input and told.long_input


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command printed; the node under test logs into the same output, each line with its time."""
    printed = capsys.readouterr().out.splitlines()
    return [line for line in printed if not line.startswith("20")]
