"""The demo's acts: which tasks each submits, and what it shows of their results. An act whose node is not here is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from stack.demo.comparison import character_error_rate, word_error_rate
from stack.demo.film import SENTENCES, VOICES, Film, describe_audio
from yivideo_client import AsyncClient

NODES = ("ffmpeg", "asr", "diarize", "ocr", "subtitle", "tts")
"""Nodes of the table that the demo starts, where this machine has what they need."""
_AUDIO = "${{ stages.ffmpeg.extract_audio.output.audio_path }}"
_SEGMENTS = "${{ stages.faster_whisper.transcribe_audio.output.segments_file }}"
_SPEAKERS = "${{ stages.pyannote_audio.diarize_speakers.output.diarization_file }}"
_ATTRIBUTED = "${{ stages.pyannote_audio.assign_speakers.output.segments_file }}"
_SUBTITLES = "${{ stages.wservice.generate_subtitle_files.output.subtitle_path }}"
Output = dict[str, Any]


class NotUnderstood(Exception):
    """What was spoken and what was heard are too far apart."""


@dataclass(frozen=True)
class Narration:
    """A text to speak, in a language, and how much of it may be misheard."""

    language: str
    text: str
    error_rate: Callable[[str, str], float]
    limit: float


NARRATIONS = (
    Narration("en", "Every film in this studio is heard, translated and spoken again.", word_error_rate, 0.2),
    Narration("zh", "今天天气很好，我们一起去公园散步。", character_error_rate, 0.3),
)
_HEARING_LIMIT = 0.25
"""Most words of the film that the demo forgives a small model."""
_READING_LIMIT = 0.02
"""Most letters of the burned-in subtitles that it forgives the node that reads."""
_EDGE_SECONDS = 0.041
"""How far a subtitle that was read may begin or end from the one in the script: one frame of the film, whose clock the script does
not share."""


@dataclass
class Script:
    """The tasks of one run, in the order of submission; `outputs` fills as they end."""

    run: str
    callback: str
    served: frozenset[str]
    """Task types that the stack offers."""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)

    def add(self, key: str, name: str, task_input: dict[str, Any], *after: str) -> bool:
        """Add a task unless it, or one that it waits for, is not offered; tells whether it was added."""
        keys = {self.key(task) for task in self.tasks} | set(self.outputs)
        if name not in self.served or not set(after) <= keys:
            return False
        task = {
            "task_id": f"{self.run}-{key}",
            "task_name": name,
            "workflow_id": self.run,
            "callback": self.callback,
            "input_data": task_input,
        }
        if after:
            task["depends_on"] = [f"{self.run}-{other}" for other in after]
        self.tasks.append(task)
        return True

    def key(self, task: dict[str, Any]) -> str:
        """Return the name that the demo calls a task by."""
        return str(task["task_id"]).removeprefix(f"{self.run}-")


def write_film_tasks(script: Script, video: str, subtitles: str) -> None:
    """Plan what happens to the film: its sound is taken out, cut, written down, told apart by who speaks; its pictures are read."""
    script.add("audio", "ffmpeg.extract_audio", {"video_path": video})
    script.add("keyframes", "ffmpeg.extract_keyframes", {"video_path": video, "keyframe_sample_count": 12})
    script.add("read", "paddleocr.extract_subtitles", {"video_path": video, "formats": ["srt", "json"]})
    script.add(
        "split",
        "ffmpeg.split_audio_segments",
        {"audio_path": _AUDIO, "subtitle_path": subtitles},
        "audio",
    )
    script.add("text", "faster_whisper.transcribe_audio", {"audio_path": _AUDIO}, "audio")
    script.add("speakers", "pyannote_audio.diarize_speakers", {"audio_path": _AUDIO}, "audio")
    script.add(
        "who",
        "pyannote_audio.assign_speakers",
        {"segments_file": _SEGMENTS, "diarization_file": _SPEAKERS},
        "text",
        "speakers",
    )
    heard = (_ATTRIBUTED, "who") if "pyannote_audio.assign_speakers" in script.served else (_SEGMENTS, "text")
    script.add(
        "cues",
        "wservice.generate_subtitle_files",
        {"segments_file": heard[0], "language": "en", "formats": ["srt", "vtt"]},
        heard[1],
    )
    script.add(
        "subtitled",
        "wservice.mux_subtitles",
        {
            "video_path": video,
            "tracks": [{"subtitle_path": _SUBTITLES, "language": "en", "title": "English", "default": True}],
            "output_filename": "film-subtitled",
        },
        "cues",
    )


def write_narration_tasks(script: Script) -> None:
    """Plan the narrations: each text is spoken."""
    for narration in NARRATIONS:
        task_input = {
            "text": narration.text,
            "language": narration.language,
            "output_path": f"{script.run}-{narration.language}.wav",
        }
        script.add(f"speak-{narration.language}", "indextts.generate_speech", task_input)


def write_hearing_tasks(script: Script) -> None:
    """Plan that what was spoken is heard again."""
    for narration in NARRATIONS:
        spoken = script.outputs.get(f"speak-{narration.language}")
        if spoken:
            task_input = {"audio_path": spoken["audio_path"], "language": narration.language}
            script.add(f"hear-{narration.language}", "faster_whisper.transcribe_audio", task_input)


async def film_results(script: Script, client: AsyncClient, film: Film, folder: Path) -> list[str]:
    """Return what came out of the film, a line each. Raises NotUnderstood when the film was not understood."""
    audio, frames, split = (script.outputs[key] for key in ("audio", "keyframes", "split"))
    target = folder / "audio.wav"
    size = await client.files.download(audio["audio_path"], target)
    facts = await asyncio.to_thread(describe_audio, target)
    lines = [
        f"result    {audio['audio_path']}: {facts}, {size / 1e3:.0f} kB downloaded",
        f"result    {frames['keyframe_dir']}: {frames['keyframe_files_count']} key frames",
        f"result    {split['audio_segments_dir']}: {split['successful_segments']} segments, one a spoken sentence",
    ]
    if "text" in script.outputs:
        heard = await _heard(client, script.outputs["text"], folder / "text.json")
        rate = word_error_rate(" ".join(SENTENCES), heard)
        lines.append(f"heard     {heard}")
        lines.append(
            f"          {rate:.0%} of the script's words misheard, by {_engine(script.outputs['text'])}"
        )
        _check("the film", rate, _HEARING_LIMIT)
    if "who" in script.outputs:
        rows = await _segments(client, script.outputs["who"]["segments_file"], folder / "who.json")
        lines += [f"speaker   {row.get('speaker')}: {row['text'].strip()}" for row in rows]
    if "speakers" in script.outputs:
        found = script.outputs["speakers"]["total_speakers"]
        lines.append(f"          {found} speakers found, {len(set(VOICES))} spoke")
    return lines


async def reading_results(script: Script, client: AsyncClient, film: Film, folder: Path) -> list[str]:
    """Return what was read off the film beside what its script says. Raises NotUnderstood when they differ."""
    read = script.outputs.get("read")
    if not read:
        return []
    await client.files.download(read["srt_file"], folder / "read.srt")
    target = folder / "read.json"
    await client.files.download(read["json_file"], target)
    cues = orjson.loads(await asyncio.to_thread(target.read_bytes))["subtitles"]
    rate = character_error_rate(" ".join(SENTENCES), " ".join(cue["text"] for cue in cues))
    _check("what is written in the film", rate, _READING_LIMIT)
    if len(cues) != len(film.cues):
        raise NotUnderstood(f"{len(cues)} subtitles were read, and {len(film.cues)} are in the film")
    edges = [
        abs(mine - other)
        for cue, (start, end, _) in zip(cues, film.cues, strict=True)
        for mine, other in ((cue["startTime"], start), (cue["endTime"], end))
    ]
    if max(edges) > _EDGE_SECONDS:
        raise NotUnderstood(f"a subtitle was read {max(edges):.3f} s from where it is in the film")
    return [
        *(f"read      {cue['startTime']:6.2f} {cue['endTime']:6.2f}  {cue['text']}" for cue in cues),
        f"          {rate:.0%} of the burned-in letters misread by {read['engine']}, times at most {max(edges) * 1000:.0f} ms off; "
        f"in {folder / 'read.srt'}",
    ]


async def subtitled_results(script: Script, client: AsyncClient, film: Film, folder: Path) -> list[str]:
    """Return where the film with its subtitles is; none where no node makes them."""
    made = script.outputs.get("subtitled")
    if not made:
        return []
    target = folder / "film-subtitled.mkv"
    size = await client.files.download(made["video_path"], target)
    cues = folder / "film.srt"
    await client.files.download(script.outputs["cues"]["subtitle_path"], cues)
    return [
        f"subtitled {target}: {made['total_tracks']} track of subtitles, {size / 1e6:.1f} MB; the same as {cues}",
    ]


async def narration_results(script: Script, client: AsyncClient, film: Film, folder: Path) -> list[str]:
    """Return how well each narration was understood. Raises NotUnderstood for one that was not."""
    lines = []
    for narration in NARRATIONS:
        spoken = script.outputs.get(f"speak-{narration.language}")
        if not spoken:
            continue
        target = folder / f"narration-{narration.language}.wav"
        await client.files.download(spoken["audio_path"], target)
        lines.append(f"spoken    {target}: {await asyncio.to_thread(describe_audio, target)}")
        heard_task = script.outputs.get(f"hear-{narration.language}")
        if heard_task:
            heard = await _heard(client, heard_task, folder / f"heard-{narration.language}.json")
            rate = narration.error_rate(narration.text, heard)
            lines.append(f"  script  {narration.text}")
            lines.append(f"  heard   {heard}   ({rate:.0%} wrong)")
            _check(f"the narration in {narration.language}", rate, narration.limit)
    return lines


def _check(what: str, rate: float, limit: float) -> None:
    if rate > limit:
        raise NotUnderstood(f"{what} was not understood: {rate:.0%} misheard, more than {limit:.0%}")


def _engine(output: Output) -> str:
    return f"{output['model_name']} ({output['engine']}, {output['transcribe_duration']:.1f} s)"


async def _heard(client: AsyncClient, output: Output, target: Path) -> str:
    rows = await _segments(client, output["segments_file"], target)
    return " ".join(row["text"].strip() for row in rows)


async def _segments(client: AsyncClient, object_path: str, target: Path) -> list[dict[str, Any]]:
    await client.files.download(object_path, target)
    rows: list[dict[str, Any]] = orjson.loads(await asyncio.to_thread(target.read_bytes))["segments"]
    return rows
