"""faster-whisper: windows of speech recognised in batches, those that failed once more by themselves. Runs in a worker process.

The library's batched pipeline knows one language for a whole recording, repeats nothing that failed, and believes the model's words
wherever they lie. Here each window has its language, told from the encoder's output that is decoded anyway; a window that fails the
library's own thresholds is decoded again with rising temperature; and words outside of speech are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import TranscriptionOptions, get_compression_ratio, get_suppressed_tokens

from services.asr.faults import AsrFault, FaultCode
from services.asr.segments import Figures, Heard, HeardWord, in_order, to_segments, within_speech
from services.asr.sound import Samples, Sound
from services.asr.speech import Span, Window, find_speech, split_window, to_windows
from services.asr.whisper_items import Options, Plan, WindowDone

_SURE = 0.85
"""A window whose language is less sure than this, and long enough, is taken apart: it may hold two."""
_WORTH_SPLITTING_SECONDS = 6.0
"""A shorter window is not taken apart: its pieces would tell less than it does."""
_MAX_CHARACTERS_A_SECOND = 25.0
_CLOSING_PHRASES = (
    "thank you for watching", "thanks for watching", "please subscribe", "subtitles by", "谢谢观看", "請訂閱", "请订阅", "字幕由",
    "ご視聴ありがとうございました", "시청해 주셔서 감사합니다", "спасибо за просмотр", "продолжение следует",
)  # fmt: skip
"""What Whisper has learnt from the ends of films, and says where it hears nothing."""


class Recogniser(WhisperModel):  # type: ignore[misc]
    """A loaded model. What is encoded already is taken as it is, so that telling the language costs nothing more."""

    def encode(self, features: Any) -> ctranslate2.StorageView:
        """Return the encoder's output for features, or for its own output."""
        return features if isinstance(features, ctranslate2.StorageView) else super().encode(features)


def load(folder: Path, device: str, compute_type: str, threads: int) -> Recogniser:
    """Load a model from a folder. Raises AsrFault (MODEL_UNUSABLE)."""
    default = "float16" if device == "cuda" else "int8"
    kind = default if compute_type == "default" else compute_type
    try:
        return Recogniser(
            str(folder), device=device, compute_type=kind, cpu_threads=threads, local_files_only=True
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise AsrFault(FaultCode.MODEL_UNUSABLE, f"the model in {folder} cannot be loaded: {error}") from None


def transcribe(model: Recogniser, path: Path, options: Options, skip: int = 0) -> Iterator[Plan | WindowDone]:
    """Hear a recording: gives the plan, then each window that is done, in order, without the first `skip`.

    Raises AsrFault: RANGE_OUTSIDE_MEDIA, LANGUAGE_UNSUPPORTED.
    """
    _check_language(model, options)
    sound = Sound(path)
    clips = _clips(sound.duration, options)
    windows = _windows(sound, options, clips)
    speech = sum(window.speech_seconds for window in windows)
    yield Plan(len(windows), speech, clips[0].start, clips[-1].end)
    hearing = _Hearing(model, sound, options)
    for first in range(skip, len(windows), options.batch_size):
        batch = windows[first : first + options.batch_size]
        for place, done in enumerate(hearing.batch(batch)):
            yield WindowDone(first + place, batch[place].end, *done)


def _check_language(model: Recogniser, options: Options) -> None:
    language = options.language
    if language is None:
        return
    known = model.supported_languages if model.model.is_multilingual else ["en"]
    if language not in known:
        raise AsrFault(
            FaultCode.LANGUAGE_UNSUPPORTED, f"the model does not know the language {language!r}", "/language"
        )


def _clips(duration: float, options: Options) -> list[Span]:
    wanted = [Span(start, min(end, duration)) for start, end in options.clips if start < duration]
    if options.clips and not wanted:
        message = f"the recording has {duration:.3f} s, and every clip lies behind its end"
        raise AsrFault(FaultCode.RANGE_OUTSIDE_MEDIA, message, "/clip_timestamps")
    return sorted(wanted, key=lambda clip: clip.start) or [Span(0.0, duration)]


def _windows(sound: Sound, options: Options, clips: Sequence[Span]) -> list[Window]:
    spans = (
        find_speech(sound, options.vad, clips) if options.vad_filter else [c for c in clips if c.duration > 0]
    )
    return to_windows(spans, options.vad.speech_pad_ms / 1000, clips)


_Done = tuple[tuple[Heard, ...], tuple[tuple[str, float], ...], int, int]


class _Hearing:
    """Recognition of one recording, batch after batch."""

    def __init__(self, model: Recogniser, sound: Sound, options: Options) -> None:
        self._model = model
        self._sound = sound
        self._options = options
        self._language = options.language or (None if model.model.is_multilingual else "en")
        self._pipeline = BatchedInferencePipeline(model)
        self._pad = options.vad.speech_pad_ms / 1000

    def batch(self, windows: Sequence[Window]) -> Iterator[_Done]:
        """Give what is heard in each window, in order."""
        samples = [self._sound.between(window.start, window.end) for window in windows]
        features = np.stack([self._features(one) for one in samples])
        encoded = self._model.encode(features)
        languages = self._tell(encoded, len(windows))
        split = {
            place: split_window(window, self._pad)
            for place, window in enumerate(windows)
            if languages[place][1] < _SURE and window.duration > _WORTH_SPLITTING_SECONDS
        }
        heard: dict[int, _Done] = {}
        whole = [place for place in range(len(windows)) if len(split.get(place, ())) < 2]
        for language in dict.fromkeys(languages[place][0] for place in whole):
            own = [place for place in whole if languages[place][0] == language]
            view = encoded if len(own) == len(windows) else self._model.encode(features[own])
            rows = self._decode(view, [windows[place] for place in own], language)
            for place, row in zip(own, rows, strict=True):
                heard[place] = self._finish(windows[place], samples[place], languages[place], row)
        for place, pieces in split.items():
            if place not in heard:
                heard[place] = _together(list(self.batch(pieces)))
        for place in range(len(windows)):
            yield heard[place]

    def _features(self, samples: Samples) -> Any:
        return pad_or_trim(self._model.feature_extractor(samples)[..., :-1])

    def _tell(self, encoded: ctranslate2.StorageView, count: int) -> list[tuple[str, float]]:
        """Return each window's language and how sure that is."""
        if self._language is not None:
            return [(self._language, 1.0)] * count
        told = [
            (rows[0][0].strip("<|>"), float(rows[0][1]))
            for rows in self._model.model.detect_language(encoded)
        ]
        if not self._options.multilingual:
            self._language = told[0][0]
            return [(self._language, told[0][1])] * count
        return told

    def _tokenizer(self, language: str) -> Tokenizer:
        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task=self._options.task, language=language)

    def _decode(
        self, encoded: ctranslate2.StorageView, windows: Sequence[Window], language: str
    ) -> list[dict[str, Any]]:
        """Decode windows of one language at once; a row for each."""
        tokenizer = self._tokenizer(language)
        metadata = [{"offset": window.start, "duration": window.duration} for window in windows]
        rows = self._pipeline.forward(encoded, tokenizer, metadata, self._library_options(tokenizer))
        return [row[0] if len(row) == 1 else _merged(row) for row in rows]

    def _library_options(self, tokenizer: Tokenizer) -> TranscriptionOptions:
        options = self._options
        return TranscriptionOptions(
            beam_size=options.beam_size,
            best_of=options.best_of,
            patience=options.patience,
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            log_prob_threshold=options.log_prob_threshold,
            no_speech_threshold=options.no_speech_threshold,
            compression_ratio_threshold=options.compression_ratio_threshold,
            condition_on_previous_text=False,
            prompt_reset_on_temperature=0.5,
            temperatures=[options.temperature[0]],
            initial_prompt=options.initial_prompt,
            prefix=options.prefix,
            suppress_blank=options.suppress_blank,
            suppress_tokens=get_suppressed_tokens(tokenizer, list(options.suppress_tokens)),
            # Times of segments cost words at their seams, and the words have times of their own.
            without_timestamps=True,
            max_initial_timestamp=1.0,
            word_timestamps=True,
            prepend_punctuations="\"'“¿([{-",
            append_punctuations="\"'.。,，!！?？:：”)]}、",
            multilingual=False,
            max_new_tokens=options.max_new_tokens,
            clip_timestamps="0",
            hallucination_silence_threshold=None,
            hotwords=options.hotwords,
        )

    def _finish(
        self, window: Window, samples: Samples, language: tuple[str, float], row: dict[str, Any]
    ) -> _Done:
        """Judge what was decoded, decode it again if it failed, and keep what was really said."""
        repeated = 0
        temperature = self._options.temperature[0]
        if self._failed(row, window) and len(self._options.temperature) > 1:
            row, temperature = self._again(window, samples, language[0])
            repeated = 1
        figures = Figures(
            language[0],
            language[1],
            float(row["avg_logprob"]),
            float(row["no_speech_prob"]),
            float(row["compression_ratio"]),
            temperature,
        )
        spoken = (language[0], window.speech_seconds)
        words = _words(row)
        if self._is_nothing(row, figures):
            return (), (spoken,), repeated, len(words)
        kept = in_order(list(within_speech(words, window.spans)))
        segments = tuple(to_segments(kept, figures, window.start))
        return segments, (spoken,), repeated, len(words) - len(kept)

    def _failed(self, row: dict[str, Any], window: Window) -> bool:
        """Whether a decode is a loop, a guess, or faster than anybody speaks."""
        speed = len(row["text"]) / max(window.speech_seconds, 0.2)
        silent = row["no_speech_prob"] > self._options.no_speech_threshold
        return (
            row["compression_ratio"] > self._options.compression_ratio_threshold
            or (row["avg_logprob"] < self._options.log_prob_threshold and not silent)
            or speed > _MAX_CHARACTERS_A_SECOND
        )

    def _again(self, window: Window, samples: Samples, language: str) -> tuple[dict[str, Any], float]:
        """Decode one window by the library's sequential way, with rising temperature."""
        options = self._options
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            task=options.task,
            beam_size=options.beam_size,
            best_of=options.best_of,
            temperature=list(options.temperature),
            compression_ratio_threshold=options.compression_ratio_threshold,
            log_prob_threshold=options.log_prob_threshold,
            no_speech_threshold=options.no_speech_threshold,
            condition_on_previous_text=False,
            initial_prompt=options.initial_prompt,
            hotwords=options.hotwords,
            word_timestamps=True,
            vad_filter=False,
        )
        rows = list(segments)
        text = "".join(row.text for row in rows)
        words = [
            {
                "word": word.word,
                "start": word.start + window.start,
                "end": word.end + window.start,
                "probability": word.probability,
            }
            for row in rows
            for word in row.words or ()
        ]
        row = {
            "text": text,
            "words": words,
            "avg_logprob": float(np.mean([row.avg_logprob for row in rows])) if rows else 0.0,
            "no_speech_prob": max((row.no_speech_prob for row in rows), default=1.0),
            "compression_ratio": get_compression_ratio(text) if text else 0.0,
        }
        return row, max((row.temperature or 0.0 for row in rows), default=0.0)

    def _is_nothing(self, row: dict[str, Any], figures: Figures) -> bool:
        """Whether the model says itself that it heard nothing, or repeats how films end."""
        silent = figures.no_speech_prob > self._options.no_speech_threshold
        if silent and figures.avg_logprob < self._options.log_prob_threshold:
            return True
        text = row["text"].strip().casefold()
        closing = any(phrase in text for phrase in _CLOSING_PHRASES) and len(text) < 80
        return closing and (figures.no_speech_prob > 0.3 or figures.avg_logprob < -0.7)


def _merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one row of a window's subsegments."""
    merged = dict(rows[0]) if rows else {"avg_logprob": 0.0, "no_speech_prob": 1.0}
    text = "".join(row["text"] for row in rows)
    merged |= {
        "text": text,
        "words": [word for row in rows for word in row.get("words", ())],
        "compression_ratio": get_compression_ratio(text) if text else 0.0,
    }
    return merged


def _words(row: dict[str, Any]) -> list[HeardWord]:
    return [
        HeardWord(float(word["start"]), float(word["end"]), str(word["word"]), float(word["probability"]))
        for word in row.get("words", ())
        if word["word"].strip()
    ]


def _together(parts: Sequence[_Done]) -> _Done:
    segments = tuple(segment for part in parts for segment in part[0])
    languages = tuple(language for part in parts for language in part[1])
    return segments, languages, sum(part[2] for part in parts), sum(part[3] for part in parts)
