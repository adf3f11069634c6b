"""Laws of the event log."""

from __future__ import annotations

import asyncio

from nodekit.attempt.event_log import EventLog
from yivideo.task.v1 import task_pb2


def progress(percent: float) -> task_pb2.TaskEvent:
    return task_pb2.TaskEvent(progress=task_pb2.Progress(percent=percent))


def line(text: str) -> task_pb2.TaskEvent:
    return task_pb2.TaskEvent(log=task_pb2.TaskLog(level="info", message=text))


def completed() -> task_pb2.TaskEvent:
    return task_pb2.TaskEvent(completed=task_pb2.TaskCompleted())


async def collect(log: EventLog, after: int = 0, heartbeat_seconds: float = 60) -> list[task_pb2.TaskEvent]:
    stream = log.follow(
        after,
        heartbeat_seconds=heartbeat_seconds,
        snapshot=lambda: task_pb2.Task(attempt=7),
        check=lambda: None,
    )
    return [event async for event in stream]


async def test_replay_begins_after_the_position() -> None:
    """A watcher gets exactly the events after its position, in order, ended by the terminal one."""
    log = EventLog("t", 1, 100)
    for number in range(5):
        log.append(line(str(number)))
    log.append(completed())
    assert [event.sequence for event in await collect(log, 3)] == [4, 5, 6]


async def test_follower_gets_what_comes_later() -> None:
    """A watcher that is there first misses nothing and gets nothing twice."""
    log = EventLog("t", 1, 100)
    watcher = asyncio.create_task(collect(log))
    for number in range(50):
        log.append(line(str(number)))
        if number % 7 == 0:
            await asyncio.sleep(0)
    log.append(completed())
    assert [event.sequence for event in await watcher] == list(range(1, 52))


async def test_overflow_drops_progress_first_and_tells_the_gap() -> None:
    """A full log drops progress before lines, keeps the first and the terminal event, and announces every hole."""
    log = EventLog("t", 1, 20)
    log.append(task_pb2.TaskEvent(started=task_pb2.TaskStarted()))
    for number in range(30):
        log.append(progress(number))
        if number % 10 == 0:
            log.append(line(str(number)))
    log.append(completed())
    events = await collect(log)
    lines = [event.log.message for event in events if event.HasField("log")]
    assert lines == ["0", "10", "20"]
    assert events[0].HasField("started")
    assert events[-1].HasField("completed")
    position = 0
    for event in events:
        if event.HasField("gap"):
            assert event.sequence == 0
            assert event.gap.first_missing_sequence == position + 1
            assert event.gap.snapshot.attempt == 7
            position = event.gap.last_missing_sequence
        else:
            assert event.sequence == position + 1
            position = event.sequence
    assert position == log.last_sequence
    assert any(event.HasField("gap") for event in events)


async def test_overflow_of_lines_keeps_the_newest() -> None:
    """When only lines are left to drop, the log stays bounded and the oldest go."""
    log = EventLog("t", 1, 20)
    for number in range(1000):
        log.append(line(str(number)))
    assert len(log.after(0)) <= 20
    assert log.after(0)[-1].log.message == "999"


async def test_nothing_follows_the_terminal_event() -> None:
    """After the terminal event the log takes nothing."""
    log = EventLog("t", 1, 20)
    log.append(completed())
    log.append(line("late"))
    assert [event.WhichOneof("event") for event in await collect(log)] == ["completed"]


async def test_heartbeat_when_quiet() -> None:
    """A quiet attempt still beats, with sequence 0, and a beat is not stored."""
    log = EventLog("t", 1, 20)
    watcher = asyncio.create_task(collect(log, heartbeat_seconds=0.02))
    await asyncio.sleep(0.1)
    log.append(completed())
    events = await watcher
    beats = [event for event in events if event.HasField("heartbeat")]
    assert beats
    assert all(beat.sequence == 0 and beat.task_id == "t" for beat in beats)
    assert [event.WhichOneof("event") for event in await collect(log)] == ["completed"]
