"""Between protobuf's timestamps and aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from runtime.errors import InvalidArgument


def instant(value: Timestamp) -> datetime:
    """Return a timestamp as an aware datetime, to the millisecond."""
    made = value.ToDatetime(tzinfo=UTC)
    return made.replace(microsecond=made.microsecond // 1000 * 1000)


def utc_time(value: datetime, pointer: str) -> datetime:
    """Return an aware time as protobuf takes it: UTC, without zone; raises InvalidArgument past the calendar's ends."""
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise InvalidArgument.at(pointer, "lies outside the calendar") from None
