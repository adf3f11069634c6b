"""The lines of a film being spoken: one voice after the other, each line fitted into its time and kept for the next attempt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nodekit import TaskContext, TaskFailed
from services.tts import speaking
from services.tts.casting import Part
from services.tts.faults import FaultCode, TtsFault
from services.tts.fitting import Fit, Slot, fit
from services.tts.line_inputs import SpokenLine
from services.tts.shortening import shorter
from services.tts.sound_files import wav_seconds
from services.tts.text.runs import clean, is_speakable, sentences

_MAX_DEATHS = 2
_MOST_SHORTER = 5
"""How many shorter versions of a line that is too long are spoken at most."""
_QUICK = 1.2
"""Times as fast as a voice ordinarily speaks: a quick reader, where a recording sped up by so much more would sound like one."""
_PAUSE_SECONDS = 0.15
"""Between the sentences of one line."""
_SAVE_SECONDS = 3.0
_MOST_KEPT = 4_000
"""Lines that a checkpoint of 64 KiB has room for; further ones are spoken again."""
_NEAR_SECONDS = 0.02
"""An overrun that nobody hears: no words are given up for it."""


@dataclass(frozen=True)
class Said:
    """One line as it was spoken, before it is fitted."""

    text: str
    path: Path
    """WAV of the voice's own rate."""
    fit: Fit
    stored: str
    """Object path of it."""
    version: int
    """0: all of the text; 1: all of it, spoken quickly; each further one has fewer words."""


class LineSpeech:
    """Lines being spoken. `said` fills by the line's place; lines without anything that can be spoken have nothing there."""

    def __init__(
        self,
        context: TaskContext,
        lines: Sequence[SpokenLine],
        slots: Sequence[Slot],
        parts: Mapping[str, Part],
        *,
        shorten: bool,
    ) -> None:
        self._context = context
        self._lines = lines
        self._slots = slots
        self._parts = parts
        self._shorten = shorten
        self._deaths = 0
        self._saved_time = 0.0
        self.said: dict[int, Said] = {}
        self.resumed = 0
        self.load_seconds = 0.0
        self.run_seconds = 0.0
        self._spoken_seconds = 0.0
        """Of the lines that this attempt has spoken, as they were spoken."""

    async def speak(self) -> None:
        """Speak all lines. Raises TtsFault and TaskFailed."""
        await self._resume()
        for speaker, part in self._parts.items():
            wanted = [
                number
                for number, line in enumerate(self._lines)
                if line.speaker == speaker and number not in self.said and is_speakable(clean(line.text))
            ]
            while wanted:
                try:
                    await self._speak_by(part, wanted)
                except TaskFailed as failure:
                    self._deaths += 1
                    if failure.code != "WORKER_DIED" or self._deaths > _MAX_DEATHS:
                        raise
                    await self._context.log(f"{failure.message}; going on with the same line", "warning")
        if not self.said:
            raise TtsFault(FaultCode.INVALID_INPUT, "no line has anything that can be spoken", "/lines")
        self._context.worked_on(self._spoken_seconds, self.run_seconds)

    async def _speak_by(self, part: Part, wanted: list[int]) -> None:
        """Speak lines in one voice; each leaves the list when it is spoken."""
        threads = self._context.threads
        load = partial(speaking.load, part.cast, threads)
        key = speaking.model_key(part.cast, threads)
        async with self._context.warm(key, load, processor=True) as model:
            self.load_seconds += 0.0 if model.warm else model.load_seconds
            while wanted:
                began = time.monotonic()
                await self._speak_line(model, wanted[0])
                self.run_seconds += time.monotonic() - began
                wanted.pop(0)

    async def _speak_line(self, model: Any, number: int) -> None:
        line, slot = self._lines[number], self._slots[number]
        text = clean(line.text).replace("\n", " ")
        best: tuple[Fit, int, str, Path] | None = None
        best_seconds = 0.0
        for step, (version, speed) in enumerate(self._versions(text)):
            path = await self._spoken(
                model, version, speed, self._context.output_path(f"line-{number:05d}-{step}.wav")
            )
            seconds = await self._context.call(wav_seconds, path)
            found = fit(seconds, slot)
            if best is None or found.overrun < best[0].overrun:
                best, best_seconds = (found, step, version, path), seconds
            if found.overrun <= _NEAR_SECONDS:
                break
        assert best is not None
        found, step, version, path = best
        stored = await self._context.store(path, name=f"lines/{number + 1:05d}.wav")
        self.said[number] = Said(version, path, found, stored, step)
        self._spoken_seconds += best_seconds
        await self._tell(line, version)

    def _versions(self, text: str) -> list[tuple[str, float]]:
        """Return what is tried until it fits, and how fast it is spoken: as it is, quickly, and quickly in ever fewer words."""
        fewer = list(shorter(text))[:_MOST_SHORTER] if self._shorten else []
        return [(text, 1.0), (text, _QUICK), *((version, _QUICK) for version in fewer)]

    async def _spoken(self, model: Any, text: str, speed: float, target: Path) -> Path:
        raw = target.with_suffix(".s16")
        raw.unlink(missing_ok=True)
        found = [one for one, _ in sentences(text)]
        asked = [speaking.Sentence(one, _PAUSE_SECONDS) for one in found[:-1]]
        sample_rate = 0
        async for item in model.stream(
            speaking.speak, [*asked, speaking.Sentence(found[-1], 0.0)], raw, speed
        ):
            sample_rate = item.sample_rate
        await self._context.call(speaking.to_wav, raw, target, sample_rate)
        raw.unlink()
        return target

    async def _tell(self, line: SpokenLine, version: str) -> None:
        data = {"line": len(self.said), "text": version, "start": line.start, "speaker": line.speaker}
        await self._context.progress(5 + 75 * len(self.said) / len(self._lines), "speaking", data=data)
        if time.monotonic() - self._saved_time >= _SAVE_SECONDS:
            self._saved_time = time.monotonic()
            await self._context.save_checkpoint(self._checkpoint())

    def _checkpoint(self) -> dict[str, Any]:
        """Return what the next attempt needs: one short text, since a long film has thousands of lines."""
        folders: list[str] = []
        rows = []
        for number, said in self.said.items():
            folder, _, name = said.stored.rpartition("/")
            if name != f"{number + 1:05d}.wav":
                continue  # another file was in the way of this one: it is spoken again
            if folder not in folders:
                folders.append(folder)
            rows.append(f"{number}:{said.version}:{folders.index(folder)}")
        return {"folders": folders, "lines": ",".join(rows[:_MOST_KEPT])}

    async def _resume(self) -> None:
        """Take over what an earlier attempt has spoken."""
        kept = self._context.checkpoint or {}
        folders = kept.get("folders", [])
        for row in filter(None, str(kept.get("lines", "")).split(",")):
            number, step, folder = map(int, row.split(":"))
            stored = f"{folders[folder]}/{number + 1:05d}.wav"
            path = await self._context.fetch(stored)
            versions = self._versions(clean(self._lines[number].text).replace("\n", " "))
            found = fit(await self._context.call(wav_seconds, path), self._slots[number])
            self.said[number] = Said(versions[step][0], path, found, stored, step)
        self.resumed = len(self.said)
