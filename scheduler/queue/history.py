"""What became of a task's attempts, and the lines they logged, out of what the scripts keep."""

from __future__ import annotations

from runtime.errors import InvalidArgument
from scheduler.queue.keys import Keys
from scheduler.queue.record import LIVE_STATES, TaskRecord
from scheduler.queue.redis_link import RedisLink
from yivideo.task.v1 import task_pb2

LEVELS = ("debug", "info", "warning", "error")
_LARGEST_PAGE = 500
_CHUNK = 500


class History:
    """Reads attempts and logs."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def attempts(self, record: TaskRecord) -> list[task_pb2.AttemptRecord]:
        """Return the attempts that are kept, oldest first; the current or last one is the record's own."""
        (noted,) = await self._redis.read(
            lambda pipe: pipe.lrange(self._keys.task(record.task_id, "attempts"), 0, -1)
        )
        made = [_noted(raw, record.node) for raw in noted]
        if record.state in LIVE_STATES or _ended_by_attempt(record):
            made.append(_latest(record))
        return made

    async def log(self, request: task_pb2.GetTaskLogRequest) -> task_pb2.GetTaskLogResponse:
        """Return a page of lines. Raises InvalidArgument for an unknown level or a page size out of range."""
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {_LARGEST_PAGE}")
        if request.level and request.level not in LEVELS:
            raise InvalidArgument.at("/level", f"must be one of: {', '.join(LEVELS)}")
        if request.after_sequence < 0:
            raise InvalidArgument.at("/after_sequence", "must not be negative")
        wanted = LEVELS[LEVELS.index(request.level or LEVELS[0]) :]
        size = request.page_size or _LARGEST_PAGE
        page = task_pb2.GetTaskLogResponse()
        after = request.after_sequence
        while True:
            entries = await self._lines(request.task_id, after)
            for sequence, fields in entries:
                if len(page.lines) == size:
                    page.next_after_sequence = after
                    return page
                after = sequence
                line = _line(sequence, fields)
                if line.level in wanted:
                    page.lines.append(line)
            if len(entries) < _CHUNK:
                return page

    async def _lines(self, task_id: str, after: int) -> list[tuple[int, dict[bytes, bytes]]]:
        (entries,) = await self._redis.read(
            lambda pipe: pipe.xrange(self._keys.task(task_id, "log"), min=f"({after}-0", count=_CHUNK)
        )
        return [(int(entry_id.split(b"-")[0]), fields) for entry_id, fields in entries]


def _ended_by_attempt(record: TaskRecord) -> bool:
    """Whether the task's end was its attempt's, and not that of its waiting."""
    if not record.ended:
        return False
    return record.attempt > 0 if record.ended_fence < 0 else record.ended_fence > 0


def _line(sequence: int, fields: dict[bytes, bytes]) -> task_pb2.TaskLogLine:
    log = task_pb2.TaskEvent.FromString(fields[b"e"]).log
    line = task_pb2.TaskLogLine(
        sequence=sequence,
        attempt=int(fields[b"a"]),
        level=log.level if log.level in LEVELS else "info",
        message=log.message,
    )
    line.time.FromMilliseconds(int(fields[b"t"]))
    return line


def _noted(raw: bytes, node: str) -> task_pb2.AttemptRecord:
    attempt, start, end, _, outcome, replica, address, error = raw.split(b"\n", 7)
    made = task_pb2.AttemptRecord(
        attempt=int(attempt),
        node=node,
        replica=replica.decode(),
        address=address.decode(),
        outcome=outcome.decode(),
    )
    made.start_time.FromMilliseconds(int(start))
    made.end_time.FromMilliseconds(int(end))
    if error:
        made.error.ParseFromString(error)
    return made


def _latest(record: TaskRecord) -> task_pb2.AttemptRecord:
    made = task_pb2.AttemptRecord(
        attempt=record.attempt,
        node=record.node,
        replica=record.replica,
        address=record.address,
        outcome=record.state,
    )
    made.start_time.FromMilliseconds(record.run_ms)
    if record.ended:
        made.end_time.FromMilliseconds(record.end_ms)
    if record.state == "failed" and record.error:
        made.error.ParseFromString(record.error)
    return made
