"""How parts come up, fail and go down: real processes, in their order."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from stack.cause import cause_of
from stack.log_files import LogFiles
from stack.part import Part, PartFailed, PartSpec
from stack.supervisor import Supervisor
from stack.telling import Telling

JOURNALLING = """
import signal, sys, time
def note(word):
    with open(sys.argv[1], "a") as journal:
        journal.write(f"{sys.argv[2]} {word}\\n")
def stop(*_):
    note("stops")
    time.sleep(0.05)
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("starts")
open(f"{sys.argv[1]}.{sys.argv[2]}", "w").close()
time.sleep(60)
"""


def journalling(folder: Path, name: str, tier: int | None = None) -> PartSpec:
    """A part that notes its start and its stop."""

    async def ready() -> bool:
        return (folder / f"journal.{name}").exists()

    argv = (sys.executable, "-S", "-c", JOURNALLING, str(folder / "journal"), name)
    return PartSpec(name, argv, ready, tier=tier)


async def never() -> bool:
    """A probe of a part that does not get ready."""
    return False


def failing(script: str, **changed: object) -> PartSpec:
    """A part that ends at once."""
    return PartSpec("painter", (sys.executable, "-c", script), never, **changed)  # type: ignore[arg-type]


@pytest.mark.trial("10.1")
async def test_parts_stop_by_tier_and_each_stop_is_shown(tmp_path: Path) -> None:
    """Whoever starts when, the gateway goes first and the store last: each has ended before the next is told to."""
    lines: list[str] = []
    supervisor = Supervisor(LogFiles(tmp_path / "logs"), Telling(lines.append))
    stages = [
        [journalling(tmp_path, "redis", 5)],
        [journalling(tmp_path, "filestore", 4), journalling(tmp_path, "ffmpeg", 1)],
        [journalling(tmp_path, "scheduler", 2)],
        [journalling(tmp_path, "gateway", 0)],
    ]
    async with supervisor.running(stages):
        pass
    ends = [line for line in (tmp_path / "journal").read_text().splitlines() if "starts" not in line]
    order = ["gateway", "ffmpeg", "scheduler", "filestore", "redis"]
    assert ends == [f"{name} {word}" for name in order for word in ("stops", "stopped")]
    shown = [line.split()[:2] for line in lines]
    assert shown[:5] != [] and sorted(line[0] for line in shown[:5]) == sorted(order)
    assert all(line[1] == "ready" for line in shown[:5])
    assert shown[5:] == [[name, "stopped"] for name in order]


async def test_without_tiers_parts_stop_against_the_order_of_their_start(tmp_path: Path) -> None:
    """What was started last rests on what was started before."""
    supervisor = Supervisor(LogFiles(tmp_path / "logs"))
    async with supervisor.running([[journalling(tmp_path, "one")], [journalling(tmp_path, "two")]]):
        pass
    ends = [line for line in (tmp_path / "journal").read_text().splitlines() if "stopped" in line]
    assert ends == ["two stopped", "one stopped"]


@pytest.mark.trial("10.4")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import no_such_module_x", "ModuleNotFoundError: No module named 'no_such_module_x'"),
        (
            "import sys; sys.exit('settings: cannot start\\n  node.slts: there is no such setting')",
            "node.slts: there is",
        ),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("print('no luck today'); raise SystemExit(3)", "no luck today"),
    ],
)
async def test_a_part_that_dies_at_its_start_is_named_at_once_with_its_own_error(
    tmp_path: Path, script: str, said: str
) -> None:
    """Not the end of some timeout of another part, and no traceback of ours."""
    lines: list[str] = []
    supervisor = Supervisor(LogFiles(tmp_path / "logs"), Telling(lines.append))
    with pytest.raises(PartFailed, match=r"^painter ended while it started") as caught:
        async with supervisor.running([[failing(script, ready_seconds=3600)]]):
            pytest.fail("it is not up")
    assert said in str(caught.value)
    assert "log: " in str(caught.value) and "Traceback" not in str(caught.value)
    assert len(lines) == 1 and "painter" in lines[0] and said in lines[0]


@pytest.mark.trial("10.4")
async def test_an_optional_part_that_dies_leaves_the_others_running(tmp_path: Path) -> None:
    """It is named with its error; who starts after it does not wait for it."""
    supervisor = Supervisor(LogFiles(tmp_path / "logs"))
    stages = [[failing("1/0", optional=True, ready_seconds=3600)], [journalling(tmp_path, "two")]]
    async with supervisor.running(stages):
        assert "ZeroDivisionError" in supervisor.failed["painter"]
        assert supervisor.parts["two"].pid


async def test_a_program_that_is_not_there_is_an_error_of_that_part(tmp_path: Path) -> None:
    """The name of the program, not a traceback."""
    part = Part(PartSpec("redis", ("no-such-program-x",), never), tmp_path / "redis.log")
    with pytest.raises(PartFailed, match=r"^redis.*no-such-program-x"):
        await part.start()


async def test_a_part_that_does_not_drain_is_killed_and_that_is_shown(tmp_path: Path) -> None:
    """After its own time, with all that is in its session."""

    async def ready() -> bool:
        return (tmp_path / "up").exists()

    script = f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    spec = PartSpec("stubborn", ("sh", "-c", script), ready, stop_seconds=0.1)
    lines: list[str] = []
    supervisor = Supervisor(LogFiles(tmp_path / "logs"), Telling(lines.append))
    async with supervisor.running([[spec]]):
        pass
    assert "KILLED" in lines[-1]


async def test_a_start_that_is_broken_off_stops_what_was_started(tmp_path: Path) -> None:
    """Ctrl-C while parts still start."""
    supervisor = Supervisor(LogFiles(tmp_path / "logs"))
    stages = [[journalling(tmp_path, "one")], [PartSpec("slow", ("sleep", "60"), never)]]

    async def run() -> None:
        async with supervisor.running(stages):
            pytest.fail("it is not up")

    starting = asyncio.create_task(run())
    while "slow" not in supervisor.parts or supervisor.parts["slow"].pid is None:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "one stopped" in (tmp_path / "journal").read_text()
    assert supervisor.parts["slow"].pid is None


def test_the_cause_is_found_in_any_log() -> None:
    """JSON lines with a traceback, a bare traceback, refused settings, or nothing at all."""
    died = {
        "event": "died",
        "level": "critical",
        "exception": "Traceback …\n  File x\nOSError: port is taken",
    }
    later = {"event": "stopped", "level": "info"}
    assert cause_of(f"{json.dumps(died)}\n{json.dumps(later)}\n") == "OSError: port is taken"
    assert cause_of("Traceback (most recent call last):\n  File x\nKeyError: 'y'\n") == "KeyError: 'y'"
    assert (
        cause_of("{broken\nsettings: cannot start\n  a.b: wrong\n") == "settings: cannot start\n  a.b: wrong"
    )
    assert cause_of("\n") == "it said nothing"


@pytest.mark.trial("10.6")
def test_logs_are_put_aside_when_they_are_full_and_writing_goes_on(tmp_path: Path) -> None:
    """The newest lines are in the part's file, older ones in numbered files; no more of those than asked for, and none is lost."""
    files = LogFiles(tmp_path, max_bytes=40, older=2)
    path = files.path("ffmpeg")
    with path.open("ab", buffering=0) as writer:
        for number in range(4):
            writer.write(f"line {number} {'x' * 40}\n".encode())
            files.rotate()
        writer.write(b"the last\n")
        files.rotate()
    assert path.read_bytes() == b"the last\n"
    assert (tmp_path / "ffmpeg.log.1").read_text().startswith("line 3 ")
    assert (tmp_path / "ffmpeg.log.2").read_text().startswith("line 2 ")
    assert len(list(tmp_path.iterdir())) == 3
