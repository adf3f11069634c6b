"""Revision: which lines are asked about next, and what has become of each, until all are settled. It asks nobody itself.

Lines go out in batches with the lines around them as context. What is refused is asked again, only that, in batches of a third
of the
size; after the last round the line stays as it was. A model to which batches are too large gets smaller ones, and one that is
of no use
at all is left alone soon. The number of batches is bounded whatever the answers are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from subtitles.revision.line import Line
from subtitles.revision.verdict import SOFT, Refusal, Verdict

_SHRINK = 3
_USELESS_BATCHES = 4
"""So many first batches in a row of which nothing is accepted, each smaller than the one before: the model is of no use."""


@dataclass(frozen=True)
class Batch:
    """Lines that are asked about together."""

    lines: tuple[Line, ...]
    before: tuple[str, ...]
    """Texts in front of them, for context only: they have no ids."""
    after: tuple[str, ...]
    attempt: int
    """From 1."""


@dataclass(frozen=True)
class Refused:
    """A proposal that was refused for good."""

    refusal: Refusal
    proposed: str
    attempts: int


@dataclass
class _Waiting:
    ids: list[int]
    attempt: int


@dataclass
class Revision:
    """The lines of one file on their way. Texts are those that lines have now: accepted, or their own."""

    lines: Sequence[Line]
    batch_size: int = 50
    overlap: int = 10
    attempts: int = 3
    texts: dict[int, str] = field(default_factory=dict)
    """Accepted texts by id, also where they are as before."""
    refused: dict[int, Refused] = field(default_factory=dict)
    """What was refused for good, by id; a refusal for a soft reason stands beside an accepted text."""
    gave_up: bool = False
    batches: int = 0
    """Batches that were given out."""

    def __post_init__(self) -> None:
        self._places = {line.id: place for place, line in enumerate(self.lines)}
        settled = self.texts.keys() | self.refused.keys()
        self._fresh = deque(line.id for line in self.lines if line.askable and line.id not in settled)
        self._again: deque[_Waiting] = deque()
        self._best: dict[int, Verdict] = {}
        self._size = self.batch_size
        self._useless = 0
        self._most = 4 * -(-len(self._fresh) // self.batch_size) + 60
        self.total = len(self._fresh) + len(settled)

    @property
    def settled(self) -> int:
        """How many lines need no more asking."""
        return len(self.texts.keys() | self.refused.keys())

    def next_batch(self) -> Batch | None:
        """Return the next lines to ask about; None when there are none now (others may still be out)."""
        if self.gave_up:
            return None
        if self.batches >= self._most:
            self.give_up()
            return None
        if self._fresh:
            ids = [self._fresh.popleft() for _ in range(min(self._size, len(self._fresh)))]
            return self._batch(ids, 1)
        if self._again:
            waiting = self._again.popleft()
            return self._batch(waiting.ids, waiting.attempt)
        return None

    def _batch(self, ids: list[int], attempt: int) -> Batch:
        self.batches += 1
        first, last = self._places[ids[0]], self._places[ids[-1]]
        return Batch(
            tuple(self.lines[self._places[number]] for number in ids),
            tuple(self.text_of(line) for line in self.lines[max(0, first - self.overlap) : first]),
            tuple(line.text for line in self.lines[last + 1 : last + 1 + self.overlap]),
            attempt,
        )

    def text_of(self, line: Line) -> str:
        """Return the text that a line has now."""
        return self.texts.get(line.id, line.text)

    def take(self, batch: Batch, verdicts: Mapping[int, Verdict]) -> int:
        """Take the verdicts on a batch, one for each of its ids; returns how many lines took a text."""
        failing = []
        for line in batch.lines:
            verdict = verdicts[line.id]
            if verdict.accepted:
                self.texts[line.id] = verdict.text
                self._best.pop(line.id, None)
            else:
                failing.append((line, verdict))
                self._remember(line, verdict)
        taken = len(batch.lines) - len(failing)
        usable = taken + sum(verdict.refusal in SOFT for _, verdict in failing)
        if batch.attempt == 1:
            self._weigh(usable)
        if self.gave_up or batch.attempt >= self.attempts:
            for line, verdict in failing:
                self._close(line, verdict, batch.attempt)
        else:
            self._ask_again([line.id for line, _ in failing], len(batch.lines), batch.attempt + 1)
        return taken

    def take_refused(self, batch: Batch, refusal: Refusal) -> None:
        """Take an answer of which nothing can be believed."""
        self.take(batch, {line.id: Verdict("", refusal) for line in batch.lines})

    def _weigh(self, usable: int) -> None:
        """Make batches smaller after one that was of no use, and give up when smaller ones were not either."""
        if usable:
            self._useless = 0
            return
        self._useless += 1
        self._size = max(1, self._size // _SHRINK)
        if self._useless >= _USELESS_BATCHES:
            self.give_up()

    def _ask_again(self, ids: list[int], size: int, attempt: int) -> None:
        smaller = max(1, min(size, self.batch_size) // _SHRINK)
        for start in range(0, len(ids), smaller):
            self._again.append(_Waiting(ids[start : start + smaller], attempt))

    def _remember(self, line: Line, verdict: Verdict) -> None:
        """Keep the best proposal that was refused for a soft reason: the shortest."""
        best = self._best.get(line.id)
        if verdict.refusal in SOFT and (best is None or len(verdict.text) < len(best.text)):
            self._best[line.id] = verdict

    def _close(self, line: Line, verdict: Verdict, attempts: int) -> None:
        best = self._best.pop(line.id, None)
        if best is not None and best.refusal is not None:
            self.texts[line.id] = best.text
            verdict = best
        assert verdict.refusal is not None
        self.refused[line.id] = Refused(verdict.refusal, verdict.text, attempts)

    def refuse_long(self) -> None:
        """Tell of the lines that say something and are too long to ask about; they stay as they are."""
        for line in self.lines:
            if not line.askable and line.id not in self.texts and any(map(str.isalpha, line.text)):
                self.total += line.id not in self.refused
                self.refused[line.id] = Refused(Refusal.TOO_LONG, "", 0)

    def give_up(self) -> None:
        """Ask no more: all lines that are not settled stay as they are."""
        self.gave_up = True
        waiting = [number for one in self._again for number in one.ids]
        for number in (*self._fresh, *waiting):
            self._close(self.lines[self._places[number]], Verdict("", Refusal.GAVE_UP), self.attempts)
        self._fresh.clear()
        self._again.clear()
