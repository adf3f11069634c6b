"""A text being spoken: passage by passage in the workers of their voices, on with the next sentence after a worker has died."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from nodekit import TaskContext, TaskFailed
from services.tts import speaking
from services.tts.inputs import GenerateSpeechInput
from services.tts.passages import Passage
from services.tts.settings import tts_settings
from services.tts.sound_files import wav_seconds
from services.tts.speaking import Spoken

_MAX_DEATHS = 2


class Speech:
    """A text being spoken."""

    def __init__(self, request: GenerateSpeechInput, context: TaskContext, passages: list[Passage]) -> None:
        self._request = request
        self._context = context
        self.passages = passages
        self.spoken: list[tuple[Spoken, str]] = []
        self.load_seconds = 0.0
        self.run_seconds = 0.0
        self._deaths = 0
        self.files: list[Path] = []

    async def speak(self) -> None:
        """Speak all passages, each into a WAV file of its own. Raises TtsFault and TaskFailed."""
        total = sum(len(passage.sentences) for passage in self.passages)
        offset = 0.0
        for number, passage in enumerate(self.passages):
            raw = self._context.output_path(f"passage-{number}.s16")
            done: list[Spoken] = []
            while len(done) < len(passage.sentences):
                try:
                    await self._passage(passage, raw, done, total, offset)
                except TaskFailed as failure:
                    self._deaths += 1
                    if failure.code != "WORKER_DIED" or self._deaths > _MAX_DEATHS:
                        raise
                    await self._context.log(f"{failure.message}; going on with the next sentence", "warning")
                    await self._context.call(_cut_to, raw, done)
            path = raw.with_suffix(".wav")
            await self._context.call(speaking.to_wav, raw, path, done[-1].sample_rate)
            self.files.append(path)
            offset += await self._context.call(wav_seconds, path)
        self._context.worked_on(offset, self.run_seconds)

    async def _passage(
        self, passage: Passage, raw: Path, done: list[Spoken], total: int, offset: float
    ) -> None:
        cast = passage.part.cast
        threads = self._context.threads
        load = partial(speaking.load, cast, threads)
        key = speaking.model_key(cast, threads)
        on_gpu = cast.engine == "indextts2"
        memory_mib = tts_settings().indextts_gpu_memory_mib if on_gpu else 0
        async with self._context.warm(key, load, memory_mib=memory_mib, processor=not on_gpu) as model:
            self.load_seconds += 0.0 if model.warm else model.load_seconds
            began = time.monotonic()
            stream = model.stream(
                speaking.speak,
                passage.sentences,
                raw,
                self._request.speed,
                skip=len(done),
                parts=self._request.stream,
            )
            async for item in stream:
                done.append(item)
                await self._tell(item, cast.voice or cast.engine, total, offset)
            self.run_seconds += time.monotonic() - began

    async def _tell(self, item: Spoken, voice: str, total: int, offset: float) -> None:
        moved = Spoken(
            item.number, item.text, item.start + offset, item.end + offset, item.sample_rate, item.part
        )
        self.spoken.append((moved, voice))
        data: dict[str, Any] = {
            "sentence": len(self.spoken),
            "text": item.text,
            "start": round(moved.start, 3),
            "end": round(moved.end, 3),
        }
        if item.part:
            data["audio_path"] = await self._context.store(
                Path(item.part), name=f"parts/{len(self.spoken):04d}.wav"
            )
        await self._context.progress(5 + 80 * len(self.spoken) / total, "speaking", data=data)


def _cut_to(raw: Path, done: list[Spoken]) -> None:
    """Take back what a worker that died has written of a sentence that it did not finish."""
    if raw.exists():
        # The pause behind the last finished sentence may be cut as well; it is short, and a repeated half word is not.
        keep = int(done[-1].end * done[-1].sample_rate) * 2 if done else 0
        with raw.open("r+b") as file:
            file.truncate(keep)
