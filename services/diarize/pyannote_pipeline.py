"""pyannote.audio's own pipelines (community-1 and the like), from a folder that a user has brought.

The package and PyTorch are in an environment of their own (`requirements-pyannote.in`), and imported only here, when the engine is
loaded. It wants the whole recording in memory: 230 MB for an hour, and as much again while it counts.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from services.diarize.engine import Step, Wanted
from services.diarize.notes import Notes
from services.diarize.sound import SAMPLE_RATE, Sound
from services.diarize.turns import Diarization, Turn, named_by_appearance

NAME = "pyannote.audio"
_STAGES = {"segmentation": (0.0, 0.4), "embeddings": (0.4, 0.9)}
_DONE = object()


class PyannotePipeline:
    """A pipeline folder, loaded."""

    name = NAME

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        import torch
        from pyannote.audio import Pipeline

        torch.set_num_threads(threads)
        self.device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self.model = f"{folder.name} (pyannote.audio {metadata.version('pyannote.audio')})"
        pipeline = Pipeline.from_pretrained(folder)
        if pipeline is None:
            raise ValueError(f"{folder.name} is no pipeline that pyannote.audio can load")
        # Its class defaults are 1: a batch of one leaves a card idle, and a processor at half its speed.
        for name in ("segmentation_batch_size", "embedding_batch_size"):
            with contextlib.suppress(AttributeError):
                setattr(pipeline, name, 32)
        self._pipeline = pipeline.to(torch.device(self.device))

    def diarize(self, sound: Sound, wanted: Wanted, notes: Notes) -> Iterator[Step | Diarization]:
        """See `Engine`; leaves no notes."""
        events: queue.Queue[Any] = queue.Queue()

        def work() -> None:
            try:
                events.put(self._apply(sound, wanted, events))
            except BaseException as error:  # it is raised again by the reader
                events.put(error)
            events.put(_DONE)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        share = 0.0
        while (event := events.get()) is not _DONE:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Step):
                share = max(share, event.share)
                event = event._replace(share=share)
            yield event
        thread.join()

    def _apply(self, sound: Sound, wanted: Wanted, events: queue.Queue[Any]) -> Diarization:
        import torch

        def hook(
            step: str, *_: Any, total: int | None = None, completed: int | None = None, **__: Any
        ) -> None:
            first, last = _STAGES.get(step, (0.9, 0.9))
            part = completed / total if total and completed is not None else 0.0
            events.put(Step(first + (last - first) * part, step.replace("_", " ")))

        count = wanted.count
        known = (
            {"num_speakers": count.exactly}
            if count.exactly
            else {"min_speakers": count.at_least, "max_speakers": count.at_most}
        )
        waveform = torch.from_numpy(sound.read(0, sound.length))[None]
        found = self._pipeline({"waveform": waveform, "sample_rate": SAMPLE_RATE}, hook=hook, **known)
        return _diarization(found)


def _diarization(found: Any) -> Diarization:
    """Return pyannote's answer in our words; older pipelines give the annotation alone."""
    annotation = getattr(found, "speaker_diarization", found)
    exclusive = getattr(found, "exclusive_speaker_diarization", annotation)
    vectors = getattr(found, "speaker_embeddings", None)
    turns, names = named_by_appearance(_turns(annotation))
    single = [
        turn._replace(speaker=names[turn.speaker]) for turn in _turns(exclusive) if turn.speaker in names
    ]
    embeddings: dict[str, list[float]] = {}
    if vectors is not None:
        for speaker, vector in zip(annotation.labels(), vectors, strict=False):
            if speaker in names:
                embeddings[names[speaker]] = [round(float(value), 6) for value in vector]
    return Diarization(tuple(turns), tuple(sorted(single)), dict(sorted(embeddings.items())))


def _turns(annotation: Any) -> list[Turn]:
    return [
        Turn(round(segment.start, 3), round(segment.end, 3), str(speaker))
        for segment, _, speaker in annotation.itertracks(yield_label=True)
    ]
