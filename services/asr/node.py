"""The node that hears: recordings become text with the time of every word.

A task here decodes the recording, has a model's worker hear it window by window, tells watchers each segment as it comes, and
stores the files. A worker that dies is replaced, and goes on where the dead one stopped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nodekit import MediaKind, Node, TaskContext, TaskFailed
from services.asr import choice as models
from services.asr import products, whisper_worker
from services.asr.decoding import Recording, decode
from services.asr.faults import AsrFault, FaultCode
from services.asr.inputs import TranscribeAudioInput
from services.asr.outputs import Coverage, LanguageShare, TranscribeAudioOutput, TranscribeStatistics
from services.asr.progress_log import ChannelLog, from_checkpoint, to_checkpoint
from services.asr.segments import Heard
from services.asr.settings import asr_settings
from services.asr.speech import VadOptions
from services.asr.whisper_items import Options, Plan, WindowDone

_MAX_DEATHS = 2
"""Workers that may die in one attempt; with a third the attempt fails, and another node may have more luck."""
_CHECKPOINT_SECONDS = 10.0

node = Node("faster_whisper", slots=1, engines=models.available)


@node.task(
    "faster_whisper.transcribe_audio", gpu=True, timeout_seconds=24 * 3600, reuse_field="segments_file"
)
async def transcribe_audio(request: TranscribeAudioInput, context: TaskContext) -> TranscribeAudioOutput:
    """Writes down what is said in a recording, with the language of each stretch and the time of each word."""
    settings = asr_settings()
    choice = models.choose(request.model, settings)
    if request.task == "translate" and not choice.translates:
        message = f"{choice.name} puts speech into English too badly; use a larger model, or translate the transcript"
        raise TaskFailed(FaultCode.TRANSLATION_UNSUPPORTED, message, field="/task")
    source = await context.fetch(request.audio_path, kind=MediaKind.VIDEO)
    with _faults():
        await context.progress(1, "decoding")
        apart = request.channels == "apart"
        recording = await decode(context, source, apart=apart, max_seconds=settings.max_hours * 3600)
        device = await _device(request, context)
        hearing = _Hearing(request, context, choice, device, recording)
        await hearing.run()
    return await _publish(request, context, choice, device, recording, hearing)


async def _device(request: TranscribeAudioInput, context: TaskContext) -> str:
    wanted = request.device if request.device != "auto" else asr_settings().device
    if wanted != "auto":
        return wanted
    return "cuda" if await context.call(models.has_cuda) else "cpu"


class _Hearing:
    """One recording being heard, channel after channel."""

    def __init__(
        self,
        request: TranscribeAudioInput,
        context: TaskContext,
        choice: models.Choice,
        device: str,
        recording: Recording,
    ) -> None:
        self._request = request
        self._context = context
        self._choice = choice
        self._device = device
        self._recording = recording
        self.logs: list[ChannelLog] = from_checkpoint(context.checkpoint, len(recording.paths))
        self.load_seconds = 0.0
        self.run_seconds = 0.0
        self._deaths = 0
        self._saved_time = time.monotonic()

    async def run(self) -> None:
        """Hear everything that is not heard yet. Raises AsrFault and TaskFailed (WORKER_DIED)."""
        for number in range(len(self.logs)):
            while True:
                try:
                    await self._hear(number)
                    break
                except TaskFailed as failure:
                    self._deaths += 1
                    if failure.code != "WORKER_DIED" or self._deaths > _MAX_DEATHS:
                        raise
                    await self._context.log(f"{failure.message}; going on where it stopped", "warning")

    async def _hear(self, number: int) -> None:
        """Hear one channel from where its log ends."""
        settings = asr_settings()
        compute = self._request.compute_type
        compute = settings.compute_type if compute == "default" else compute
        threads = self._context.threads
        load = partial(whisper_worker.load, self._choice.folder, self._device, compute, threads)
        key = f"{self._choice.name}/{self._device}/{compute}/{threads}"
        log = self.logs[number]
        on_processor = self._device == "cpu"
        async with self._context.warm(
            key, load, memory_mib=settings.gpu_memory_mib, processor=on_processor
        ) as model:
            self.load_seconds += 0.0 if model.warm else model.load_seconds
            began = time.monotonic()
            path, options = self._recording.paths[number], _options(self._request)
            async for item in model.stream(whisper_worker.transcribe, path, options, len(log.done)):
                await self._take(number, item)
            self.run_seconds += time.monotonic() - began

    async def _take(self, number: int, item: Plan | WindowDone) -> None:
        log = self.logs[number]
        if isinstance(item, Plan):
            log.plan = item
            return
        log.done.append(item)
        await self._tell(number, item)
        if time.monotonic() - self._saved_time >= _CHECKPOINT_SECONDS:
            self._saved_time = time.monotonic()
            await self._context.save_checkpoint(to_checkpoint(self.logs))

    async def _tell(self, number: int, item: WindowDone) -> None:
        """Tell watchers how far it is, and what was said."""
        whole = self._recording.duration * len(self.logs) or 1.0
        heard = sum(log.heard_until for log in self.logs)
        said = [
            {
                "start": round(row.start, 3),
                "end": round(row.end, 3),
                "text": row.text,
                "language": row.figures.language,
            }
            for row in item.segments
        ]
        data: dict[str, Any] = {"segments": said, "heard_seconds": round(item.end, 3)}
        if len(self.logs) > 1:
            data["channel"] = number + 1
        await self._context.progress(5 + 90 * min(1.0, heard / whole), "transcribing", data=data)

    def segments(self) -> list[Heard]:
        """Return all segments, in order of time."""
        apart = len(self.logs) > 1
        rows = [
            Heard(
                row.start,
                row.end,
                row.text,
                row.words,
                row.figures,
                row.tokens,
                row.seek,
                number + 1 if apart else 0,
            )
            for number, log in enumerate(self.logs)
            for one in log.done
            for row in one.segments
        ]
        return sorted(rows, key=lambda row: (row.start, row.end))


def _options(request: TranscribeAudioInput) -> Options:
    vad = request.vad_parameters
    fields = request.model_dump(
        include={
            "language", "task", "beam_size", "best_of", "patience", "length_penalty", "repetition_penalty",
            "no_repeat_ngram_size", "batch_size", "compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold",
            "initial_prompt", "prefix", "hotwords", "suppress_blank", "max_new_tokens", "multilingual", "vad_filter",
        }
    )  # fmt: skip
    longest = vad.max_speech_duration_s if vad.max_speech_duration_s is not None else float("inf")
    return Options(
        **fields,
        temperature=tuple(request.temperature),
        suppress_tokens=tuple(request.suppress_tokens),
        vad=VadOptions(**{**vad.model_dump(), "max_speech_duration_s": longest}),
        clips=tuple((start, end) for start, end in request.clip_timestamps),
    )


async def _publish(
    request: TranscribeAudioInput,
    context: TaskContext,
    choice: models.Choice,
    device: str,
    recording: Recording,
    hearing: _Hearing,
) -> TranscribeAudioOutput:

    await context.progress(96, "writing")
    segments = hearing.segments()
    languages = _languages(hearing.logs)
    words = sum(len(row.words) for row in segments)
    seconds = round(hearing.run_seconds, 3)
    statistics = {
        "total_segments": len(segments),
        "total_words": words,
        "transcribe_duration": seconds,
        "average_segment_duration": round(sum(r.end - r.start for r in segments) / len(segments), 3)
        if segments
        else 0.0,
    }
    language = languages[0].language if languages else ""
    metadata = {
        "metadata": {
            "task_name": "faster_whisper.transcribe_audio",
            "workflow_id": context.workflow_id,
            "audio_file": request.audio_path if len(request.audio_path) < 1000 else "inline",
            "total_duration": round(recording.duration, 6),
            "language": language,
            "word_timestamps_enabled": request.enable_word_timestamps,
            "model_name": choice.name,
            "device": device,
            "transcribe_method": models.engine_name(),
            "created_at": datetime.now(UTC).isoformat(),
        },
        "statistics": statistics,
    }
    folder = context.output_directory("transcript")
    files = await context.call(
        products.write_files,
        folder,
        f"transcribe_data_{context.task_id[:8]}",
        segments,
        metadata,
        forms=request.formats,
        words=request.enable_word_timestamps,
        chinese=request.chinese,
    )
    stored = {form: await context.store(path, name=path.name) for form, path in files.items()}
    return TranscribeAudioOutput(
        segments_file=stored.pop("json"),
        audio_duration=round(recording.duration, 6),
        language=language,
        languages=languages,
        transcribe_duration=seconds,
        load_seconds=round(hearing.load_seconds, 3),
        model_name=choice.name,
        model_revision=choice.revision,
        engine=models.engine_name(),
        device=device,
        enable_word_timestamps=request.enable_word_timestamps,
        statistics=TranscribeStatistics(**statistics),
        segments_count=len(segments),
        coverage=_coverage(hearing.logs, segments),
        subtitle_path=stored.get("srt"),
        text_files=stored,
    )


def _languages(logs: list[ChannelLog]) -> list[LanguageShare]:
    shares: Counter[str] = Counter()
    for log in logs:
        for one in log.done:
            for language, seconds in one.languages:
                shares[language] += seconds  # type: ignore[assignment]
    return [LanguageShare(language=name, seconds=round(s, 3)) for name, s in shares.most_common()]


def _coverage(logs: list[ChannelLog], segments: list[Heard]) -> Coverage:
    done = [one for log in logs for one in log.done]
    speech = sum(seconds for one in done for _, seconds in one.languages)
    text = sum(word.end - word.start for row in segments for word in row.words)
    return Coverage(
        speech_seconds=round(speech, 3),
        text_seconds=round(text, 3),
        ratio=round(min(1.0, text / speech), 4) if speech else 1.0,
        windows=len(done),
        windows_repeated=sum(one.repeated for one in done),
        words_dropped=sum(one.dropped_words for one in done),
    )


@contextmanager
def _faults() -> Iterator[None]:
    """Turn a fault of the work into the task's failure."""
    try:
        yield
    except AsrFault as fault:
        raise TaskFailed(fault.code, fault.message, field=fault.field) from None
