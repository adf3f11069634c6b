"""A revision driven to its end: questions to a model, a few at a time, answers to the judge, what is settled into the
checkpoint.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from language_models import (
    ChatAnswer,
    ChatRequest,
    FaultCode,
    LanguageModel,
    Message,
    ModelFault,
    NoJson,
    find_json,
)
from nodekit import TaskContext
from nodekit.context import MAX_CHECKPOINT_BYTES
from services.subtitle.revision_inputs import ModelInput
from services.subtitle.revision_outputs import ModelUse
from subtitles.revision.answers import AnswerRefused
from subtitles.revision.asking import Asking
from subtitles.revision.line import Line
from subtitles.revision.revision import Batch, Revision
from subtitles.revision.state import pack, unpack
from subtitles.revision.verdict import Refusal

_MOST_FAILURES = 3
"""So many questions in a row without any answer, each sent several times: the model is out of reach."""
_OF_THE_ANSWER = frozenset({FaultCode.ANSWER_TOO_LARGE, FaultCode.ANSWER_UNREADABLE, FaultCode.MODEL_TIMEOUT})
"""Faults that a smaller question may not have."""
_FIRST_PERCENT, _LAST_PERCENT = 10.0, 90.0


@dataclass
class Use:
    """What a model was asked and what that cost, so far."""

    model: str = ""
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    currency: str = ""
    error: str = ""

    def add(self, answer: ChatAnswer) -> None:
        """Count an answer."""
        self.model = answer.model
        self.requests += answer.requests
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        self.cost = round(self.cost + answer.cost, 8)

    def to_output(self) -> ModelUse:
        """Return it as tasks give it."""
        return ModelUse(**vars(self))


def begin(
    lines: Sequence[Line], wanted: ModelInput, context: TaskContext, asking: Asking
) -> tuple[Revision, int, str]:
    """Return a revision that goes on where an earlier attempt ended, how many lines that had settled, and its fingerprint."""
    told = orjson.dumps([asking.instructions(), [line.text for line in lines]])
    fingerprint = hashlib.sha256(told).hexdigest()[:32]
    texts, refused = unpack(context.checkpoint, fingerprint)
    own = {line.id: line.text for line in lines}
    revision = Revision(
        lines,
        batch_size=wanted.batch_size,
        overlap=wanted.overlap_size,
        attempts=wanted.max_retries,
        texts={
            number: own[number] if text is None else text for number, text in texts.items() if number in own
        },
        refused={number: one for number, one in refused.items() if number in own},
    )
    return revision, revision.settled, fingerprint


@dataclass
class Reviser:
    """One revision under way."""

    revision: Revision
    asking: Asking
    model: LanguageModel
    context: TaskContext
    wanted: ModelInput
    fingerprint: str
    use: Use = field(default_factory=Use)
    _failures: int = 0

    async def run(self) -> None:
        """Ask until every line is settled. Raises ModelFault when the model is out of reach and the task is to fail then."""
        running: set[asyncio.Task[None]] = set()
        self.revision.refuse_long()
        try:
            while True:
                while (
                    len(running) < self.wanted.parallel and (batch := self.revision.next_batch()) is not None
                ):
                    running.add(asyncio.create_task(self._ask(batch)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
                await self._tell()
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, batch: Batch) -> None:
        request = ChatRequest(
            (Message("system", self.asking.instructions()), Message("user", self.asking.question(batch))),
            timeout_seconds=self.wanted.timeout,
            schema=self.asking.schema,
        )
        try:
            answer = await self.model.chat(request)
        except ModelFault as fault:
            self._failed(batch, fault)
            return
        self._failures = 0
        self.use.add(answer)
        self._judge(batch, answer)

    def _judge(self, batch: Batch, answer: ChatAnswer) -> None:
        if answer.finish_reason == "length":
            self.revision.take_refused(batch, Refusal.NO_ANSWER)
            return
        try:
            verdicts = self.asking.judge(batch, find_json(answer.text))
        except NoJson:
            self.revision.take_refused(batch, Refusal.NOT_IN_FORM)
        except AnswerRefused as refused:
            self.revision.take_refused(batch, refused.refusal)
        else:
            self.revision.take(batch, verdicts)

    def _failed(self, batch: Batch, fault: ModelFault) -> None:
        """Take a question that was not answered: it may be asked again, unless the model is out of reach."""
        self._failures += 1
        hopeless = not fault.retryable and fault.code not in _OF_THE_ANSWER
        if hopeless or self._failures >= _MOST_FAILURES:
            if self.wanted.on_failure == "fail":
                raise fault
            self.use.error = fault.message
            self.revision.give_up()
        self.revision.take_refused(batch, Refusal.NO_ANSWER)

    async def _tell(self) -> None:
        revision = self.revision
        share = revision.settled / max(1, revision.total)
        figures = {"settled": revision.settled, "total": revision.total, "refused": len(revision.refused)}
        percent = _FIRST_PERCENT + (_LAST_PERCENT - _FIRST_PERCENT) * share
        await self.context.progress(percent, "revising", data=figures)
        packed = pack(revision, self.fingerprint, MAX_CHECKPOINT_BYTES - 1024)
        if packed is not None:
            await self.context.save_checkpoint(packed)
