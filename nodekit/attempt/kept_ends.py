"""Ends of attempts on file, for the next process of this replica to tell.

A node and its schedulers may be told to stop at the same time. Then nobody hears what the node hands back, and a scheduler that
comes back would hold it for lost. So a node that drains writes down how its last attempts ended, whether or not somebody seems to
have read it: who read it may not have got to storing it. What is told twice does no harm, since every end carries its fence.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from nodekit.attempt.past_attempt import PastAssignment
from runtime.logs import get_logger
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_MAX_KEPT = 256
_KEPT_SECONDS = 24 * 3600.0
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class KeptEnd:
    """One attempt: what it was told, and all that it has said, its end last."""

    assignment: PastAssignment
    events: Sequence[task_pb2.TaskEvent]

    def to_bytes(self) -> bytes:
        """Return it as it is written."""
        told = self.assignment
        request = task_pb2.RunTaskRequest(
            spec=told.spec, attempt=told.attempt, fence=told.fence
        ).SerializeToString()
        said = task_pb2.FollowAttemptsResponse()
        for event in self.events:
            said.events.add(event=event)
        return _LENGTH.pack(len(request)) + request + said.SerializeToString()

    @classmethod
    def from_bytes(cls, data: bytes) -> KeptEnd:
        """Read what `to_bytes` gave. Raises ValueError."""
        try:
            (length,) = _LENGTH.unpack_from(data)
            request = task_pb2.RunTaskRequest.FromString(data[_LENGTH.size : _LENGTH.size + length])
            said = task_pb2.FollowAttemptsResponse.FromString(data[_LENGTH.size + length :])
        except (struct.error, DecodeError) as error:
            raise ValueError("not a kept end") from error
        if not said.events:
            raise ValueError("not a kept end")
        told = PastAssignment(request.spec, request.attempt, request.fence)
        return cls(told, [told_event.event for told_event in said.events])


class KeptEnds:
    """The folder that they are in. Everything here is work with files, and belongs into a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, ends: Iterable[KeptEnd]) -> None:
        """Write them down, each whole or not at all, on the disk when this returns. A disk that is full is logged, not raised."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for end in ends:
            name = f"{end.assignment.fence}-{end.assignment.attempt}-{end.assignment.spec.task_id}"
            new = self._folder / f".{name}"
            try:
                with new.open("wb") as file:
                    file.write(end.to_bytes())
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._folder / name)
            except OSError as error:
                log.error("an end cannot be kept", task=end.assignment.spec.task_id, error=str(error))
                new.unlink(missing_ok=True)

    def read(self) -> list[KeptEnd]:
        """Return those that earlier processes have left, the newest of each task; remove what is old, or cannot be read."""
        if not self._folder.is_dir():
            return []
        by_age = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        oldest = time.time() - _KEPT_SECONDS
        found: dict[str, KeptEnd] = {}
        for number, path in enumerate(by_age):
            if path.name.startswith(".") or number >= _MAX_KEPT or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
                continue
            try:
                end = KeptEnd.from_bytes(path.read_bytes())
            except (OSError, ValueError) as error:
                log.error("a kept end cannot be read", file=path.name, error=str(error))
                path.unlink(missing_ok=True)
                continue
            there = found.get(end.assignment.spec.task_id)
            if there is None or there.assignment.fence < end.assignment.fence:
                found[end.assignment.spec.task_id] = end
        return list(found.values())
