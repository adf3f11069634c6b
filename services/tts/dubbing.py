"""A film's lines as one track in step with it: who speaks, when each line has its time, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import orjson

from nodekit import TaskContext
from services.tts.casting import Part
from services.tts.faults import FaultCode, TtsFault
from services.tts.fitting import Slot, slots_of
from services.tts.line_inputs import SpeakLinesInput, SpokenLine
from services.tts.line_outputs import DubbedLine, SpeakLinesOutput
from services.tts.line_speech import LineSpeech, Said
from services.tts.line_track import Placed, lay_out
from services.tts.settings import tts_settings
from services.tts.sound_files import finish, wav_seconds
from services.tts.speakers import cast_speakers
from services.tts.text.runs import tell_language
from subtitles.reading import Unreadable, read_document
from subtitles.transcript import NotATranscript

_MAX_SHOWN = 500
_MAX_LINES = 5_000
"""Each is a file of the result; a film of two hours has two thousand."""


async def dub(request: SpeakLinesInput, context: TaskContext) -> SpeakLinesOutput:
    """Speak the lines of a film into one track. Raises TtsFault, TaskFailed and ModelMissing."""
    lines = await _lines(request, context)
    total = request.duration or max(line.end for line in lines)
    language = (request.language or tell_language("".join(line.text for line in lines))).split("-")[0]
    parts = await asyncio.to_thread(
        cast_speakers,
        list(dict.fromkeys(line.speaker for line in lines)),
        request.voices,
        engine=request.engine,
        language=language,
        settings=tts_settings(),
        seed=request.seed,
    )
    slots = slots_of(
        [(line.start, line.end) for line in lines], total, request.borrow_seconds, request.gap_seconds
    )
    speech = LineSpeech(context, lines, slots, parts, shorten=request.shorten)
    await speech.speak()
    await context.progress(82, "fitting")
    placed = await _fitted(request, context, speech, slots)
    track = context.output_path(f"{PurePosixPath(request.output_filename).stem or 'voices'}.wav")
    ends = await context.call(
        lay_out, [placed[number] for number in sorted(placed)], track, request.sample_rate, total
    )
    rows = [
        _row(number, lines[number], slots[number], parts[lines[number].speaker], speech.said[number], end)
        for number, end in zip(sorted(placed), ends, strict=True)
    ]
    return await _output(context, track, rows, parts, speech)


async def _lines(request: SpeakLinesInput, context: TaskContext) -> list[SpokenLine]:
    if request.lines is not None:
        found = request.lines
    else:
        assert request.lines_path is not None
        path = await context.fetch(request.lines_path)
        try:
            cues = await context.call(_read, path)
        except (Unreadable, NotATranscript) as error:
            raise TtsFault(
                FaultCode.INVALID_INPUT, f"the lines cannot be read: {error}", "/lines_path"
            ) from None
        found = [
            SpokenLine(start=start, end=end, text=text, speaker=speaker) for start, end, text, speaker in cues
        ]
    lines = sorted((line for line in found if line.end > line.start), key=lambda line: (line.start, line.end))
    if not 0 < len(lines) <= _MAX_LINES:
        message = f"there are {len(lines)} lines with a time of their own; 1 to {_MAX_LINES} can be spoken"
        raise TtsFault(FaultCode.INVALID_INPUT, message, "/lines")
    return lines


def _read(path: Path) -> list[tuple[float, float, str, str]]:
    cues = read_document(path).cues
    return [
        (cue.start, cue.end, cue.plain[:5000], cue.speaker or "")
        for cue in cues
        if cue.plain and cue.start >= 0
    ]


async def _fitted(
    request: SpeakLinesInput, context: TaskContext, speech: LineSpeech, slots: Sequence[Slot]
) -> dict[int, Placed]:
    """Bring every line to its tempo and to the track's rate."""
    placed = {}
    for done, (number, said) in enumerate(sorted(speech.said.items()), 1):
        target = context.output_path(f"fitted-{number:05d}.wav")
        await finish(
            context, said.path, target, tempo=said.fit.tempo, gain_db=0.0, sample_rate=request.sample_rate
        )
        placed[number] = Placed(target, slots[number].start)
        await context.progress(82 + 14 * done / len(speech.said), "fitting")
    return placed


def _row(number: int, line: SpokenLine, slot: Slot, part: Part, said: Said, end: float) -> DubbedLine:
    return DubbedLine(
        id=number + 1,
        speaker=line.speaker,
        voice=part.cast.voice or part.cast.engine,
        text=line.text,
        spoken_text=said.text,
        start=round(slot.start, 3),
        end=round(end, 3),
        slot_end=round(slot.end, 3),
        limit=round(slot.limit, 3),
        tempo=round(said.fit.tempo, 4),
        overrun_ms=round(max(0.0, end - slot.limit) * 1000, 1),
    )


async def _output(
    context: TaskContext, track: Path, rows: list[DubbedLine], parts: dict[str, Part], speech: LineSpeech
) -> SpeakLinesOutput:
    listing = context.output_path(f"{track.stem}_lines.json")
    document = {"lines": [row.model_dump() for row in rows]}
    await asyncio.to_thread(listing.write_bytes, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    overruns = sorted(row.overrun_ms for row in rows)
    some = next(iter(parts.values()))
    voices = {speaker: part.cast.voice or part.cast.engine for speaker, part in parts.items()}
    return SpeakLinesOutput(
        audio_path=await context.store(track),
        lines_file=await context.store(listing),
        lines=rows[:_MAX_SHOWN],
        total_lines=len(rows),
        voices=voices,
        duration=round(await context.call(wav_seconds, track), 6),
        shortened_lines=sum(said.version > 1 for said in speech.said.values()),
        borrowing_lines=sum(row.end > row.slot_end + 0.005 for row in rows),
        overrun_p95_ms=overruns[min(len(overruns) - 1, int(0.95 * len(overruns)))],
        overrun_max_ms=overruns[-1],
        engine=some.engine,
        model=", ".join(dict.fromkeys(part.model for part in parts.values())),
        license=", ".join(dict.fromkeys(part.license for part in parts.values())),
        resumed_lines=speech.resumed,
        load_seconds=round(speech.load_seconds, 3),
        processing_time=round(speech.run_seconds, 3),
        warnings=_warnings(parts, voices),
    )


def _warnings(parts: dict[str, Part], voices: dict[str, str]) -> list[str]:
    found = list(dict.fromkeys(part.warning for part in parts.values() if part.warning))
    if len(set(voices.values())) < len(voices):
        found.append(
            f"{len(voices)} speakers share {len(set(voices.values()))} voices: no more are here for this language"
        )
    return found
