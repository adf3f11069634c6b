"""EventRing against a reader that keeps everything: whatever comes and goes, no reader is given a wrong next event."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from gateway.clients import event_ring
from gateway.clients.event_ring import ByteBudget, EventRing
from yivideo.task.v1 import task_pb2 as pb


def stored(sequence: int, text: str = "") -> pb.TaskEvent:
    return pb.TaskEvent(task_id="t", sequence=sequence, log=pb.TaskLog(message=text))


def gap(first: int, last: int) -> pb.TaskEvent:
    return pb.TaskEvent(
        task_id="t", gap=pb.EventGap(first_missing_sequence=first, last_missing_sequence=last)
    )


def rewound_to(sequence: int) -> pb.TaskEvent:
    return pb.TaskEvent(task_id="t", gap=pb.EventGap(snapshot=pb.Task(last_sequence=sequence)))


def ring(after: int = 0, max_events: int = 4, max_bytes: int = 10_000, limit: int = 10_000) -> EventRing:
    return EventRing(after, max_events=max_events, max_bytes=max_bytes, budget=ByteBudget(limit))


def rest(of: EventRing, sequence: int) -> list[int] | None:
    """Sequences that a reader behind `sequence` would be given."""
    number = of.locate(sequence)
    if number is None:
        return None
    return [told.last for n in range(number, of.end) if (told := of.get(n)).last]


@given(st.data())
def test_every_reader_goes_on_exactly_behind_its_place(data: st.DataObject) -> None:
    """From any position: the ring gives precisely what followed it, or says that it does not have it."""
    start = data.draw(st.integers(0, 5))
    made = ring(start, max_events=data.draw(st.integers(1, 6)), max_bytes=data.draw(st.integers(20, 400)))
    came: list[pb.TaskEvent] = []
    head = start
    for kind in data.draw(st.lists(st.sampled_from(["stored", "stored", "beat", "gap"]), max_size=25)):
        if kind == "stored":
            event = stored(head + 1, "x" * data.draw(st.integers(0, 60)))
            head += 1
        elif kind == "gap":
            missing = data.draw(st.integers(1, 3))
            event = gap(head + 1, head + missing)
            head += missing
        else:
            event = pb.TaskEvent(task_id="t", heartbeat=pb.Heartbeat())
        came.append(event)
        made.append(event)
        assert made.head == head and made.floor <= head
        for place in range(start, head + 2):
            wanted = [e.gap.last_missing_sequence or e.sequence for e in came]
            wanted = [sequence for sequence in wanted if sequence > place]
            inside_a_gap = any(
                e.gap.first_missing_sequence <= place < e.gap.last_missing_sequence
                for e in came
                if e.HasField("gap")
            )
            given_ = rest(made, place)
            if place > head or place < made.floor or inside_a_gap:
                assert given_ is None
            else:
                assert given_ == wanted


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(50, 500), st.integers(0, 300))
def test_bytes_are_bounded_and_given_back(sizes: list[int], limit: int, always: int) -> None:
    """A ring stays within its bound, and within its sure part once the budget is used up; the newest event is kept at any size."""
    budget = ByteBudget(limit)
    rings = [EventRing(0, max_events=10, max_bytes=200, budget=budget) for _ in range(3)]
    with mock.patch.object(event_ring, "_ALWAYS_BYTES", always):
        for place, size in enumerate(sizes):
            one = rings[place % 3]
            event = stored(one.head + 1, "x" * size)
            one.append(event)
            assert one.get(one.end - 1).event is event
            assert budget.used == sum(each.size_bytes for each in rings)
            if one.end - one.begin > 1:
                assert one.size_bytes <= 200
                assert budget.used <= limit or one.size_bytes <= always
    for one in rings:
        one.clear()
    assert budget.used == 0


def test_a_rewound_history_sends_every_reader_to_look_again() -> None:
    """After a rewind no number of before is good, and positions that never were are not here."""
    made = ring(max_events=10)
    for sequence in range(1, 6):
        made.append(stored(sequence))
    waiting_at = made.end
    made.append(rewound_to(3))
    assert waiting_at < made.begin and made.rewinds == 1
    assert (made.locate(5), made.locate(3), made.head) == (None, made.begin, 3)
    made.append(stored(4))
    assert rest(made, 3) == [4]


def test_a_gap_is_given_whole_or_not_at_all() -> None:
    """A reader whose place lies inside a gap must not be told that it misses what it has."""
    made = ring(max_events=10)
    made.append(stored(1))
    made.append(gap(2, 5))
    made.append(stored(6))
    assert rest(made, 1) == [5, 6]
    assert rest(made, 3) is None
    assert rest(made, 5) == [6]
