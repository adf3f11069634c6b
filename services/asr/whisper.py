"""Whisper by faster-whisper: a folder of weights becomes a `Recognizer`. Windows are heard in batches; only those that fail
are heard again, one by one, by sampling.

On processors a batch is shared out among searches of a thread each, side by side. In the library's own way, one search on all
threads, these wait for each other at every small product of the decoder: 12 % more processor time on an idle machine, and on a busy
one they spin for whoever was put aside (ADR 28).

Measured with base on ../shared/media: no time tokens (with them WER 0.34 instead of 0.09 on the sonnet), and the language is asked
of an encoding of the group's own length, not padded to 30 s: the same answers in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.asr.beliefs import compression_ratio, needs_retry
from services.asr.faults import FaultCode, SpeechFault
from services.asr.options import Decode
from services.asr.recognizer import HeardWindow
from services.asr.segments import spread
from services.asr.sound import RATE, Samples
from services.asr.transcript import Decoding, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WINDOW_SECONDS = 29.0
"""A second of silence stays behind the speech: Whisper loops where it is cut off."""
_FRAMES = 3000
_FRAME_SECONDS = 0.01
_PADDING_FRAMES = 300
_MAX_TOKENS = 448
_MOST_SEARCHES = 4
"""Side by side; more threads than these are shared out among them, since each search has a batch of its own in memory."""
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"
_SEED = 20_240_229


@dataclass(frozen=True)
class WhisperPlace:
    """Where a model is and how it is to run."""

    name: str
    folder: Path
    device: str = "cpu"
    compute_type: str = "auto"
    threads: int = 1

    @property
    def arithmetic(self) -> str:
        """CTranslate2's compute type."""
        if self.compute_type != "auto":
            return self.compute_type
        return "float16" if self.device == "cuda" else "int8"

    @property
    def searches(self) -> int:
        """Windows that are searched side by side."""
        return 1 if self.device == "cuda" else max(1, min(self.threads, _MOST_SEARCHES))

    @property
    def key(self) -> str:
        """What tells loaded models apart."""
        return f"whisper/{self.name}/{self.device}/{self.arithmetic}/{self.threads}"


def load_whisper(place: WhisperPlace) -> Whisper:
    """Load a model. Raises SpeechFault: MODEL_UNUSABLE, DEVICE_UNAVAILABLE, ENGINE_MISSING."""
    try:
        import ctranslate2
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise SpeechFault(FaultCode.ENGINE_MISSING, f"faster-whisper is not installed: {error}") from None
    if place.device == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        raise SpeechFault(FaultCode.DEVICE_UNAVAILABLE, "CTranslate2 finds no GPU on this node", "/device")
    ctranslate2.set_random_seed(_SEED)
    try:
        model = WhisperModel(
            str(place.folder),
            device=place.device,
            compute_type=place.arithmetic,
            cpu_threads=max(1, place.threads // place.searches),
            num_workers=place.searches,
            local_files_only=True,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise SpeechFault(
            FaultCode.MODEL_UNUSABLE, f"the model {place.name} cannot be loaded: {error}"
        ) from None
    return Whisper(model, place.name, place.searches)


class Whisper:
    """A loaded Whisper model."""

    engine = "faster-whisper"
    window_seconds = WINDOW_SECONDS

    def __init__(self, model: WhisperModel, name: str, searches: int = 1) -> None:
        self.model = name
        self.side_by_side = searches
        self._pool = ThreadPoolExecutor(searches) if searches > 1 else None
        self.languages = frozenset(model.supported_languages)
        self._model = model
        self._tokenizer = lru_cache(maxsize=32)(self._make_tokenizer)

    def guess_language(self, samples: Samples) -> tuple[str, float]:
        """Return the likeliest language of up to 30 s of speech and its probability."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        features = self._features(samples)
        length = min(_FRAMES, (features.shape[-1] + _PADDING_FRAMES) // 2 * 2)
        found = self._model.model.detect_language(self._model.encode(_fitted(features, length)[None]))[0][0]
        return found[0][2:-2], float(found[1])

    def hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str = ""
    ) -> list[HeardWindow]:
        """Hear windows of at most 30 s, in as many batches as there are searches."""
        if self._pool is None or len(windows) == 1:
            return self._hear(windows, language, decode, context)
        shares = _shared_out(windows, self.side_by_side)
        heard = self._pool.map(lambda share: self._hear(share, language, decode, context), shares)
        return [window for share in heard for window in share]

    def _hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str
    ) -> list[HeardWindow]:
        tokenizer = self._tokenizer(language, decode.task)
        features = [self._features(samples) for samples in windows]
        frames = [each.shape[-1] for each in features]
        encoded = encode(self._model, [_fitted(each, _FRAMES) for each in features])
        prompt = self._prompt(tokenizer, decode, context)
        found = self._generate(encoded, prompt, len(windows), tokenizer, decode, 0.0)
        timed = self._align(tokenizer, [tokens for tokens, _ in found], encoded, frames)
        heard = [
            _with_times(tokens, decoding, words, tokenizer, len(samples) / RATE)
            for (tokens, decoding), words, samples in zip(found, timed, windows, strict=True)
        ]
        return [
            self._again(feature, frame, first, tokenizer, prompt, decode)
            if needs_retry(first.text, frame * _FRAME_SECONDS, first.decoding, decode)
            else first
            for first, feature, frame in zip(heard, features, frames, strict=True)
        ]

    def _again(
        self,
        features: Samples,
        frames: int,
        first: HeardWindow,
        tokenizer: Any,
        prompt: list[int],
        decode: Decode,
    ) -> HeardWindow:
        """Hear a window that has failed by sampling, warmer and warmer; when nothing is good, the best without a loop counts."""
        seconds = frames * _FRAME_SECONDS
        encoded = self._model.encode(_fitted(features, _FRAMES)[None])
        tried = [first]
        for temperature in decode.temperatures:
            if temperature <= 0:
                continue
            found = self._generate(encoded, prompt, 1, tokenizer, decode, temperature)
            words = self._align(tokenizer, [found[0][0]], encoded, [frames])
            tried.append(_with_times(*found[0], words[0], tokenizer, seconds))
            if not needs_retry(tried[-1].text, seconds, tried[-1].decoding, decode):
                return tried[-1]
        ratio = decode.compression_ratio_threshold or float("inf")
        clean = [each for each in tried if each.decoding.compression_ratio <= ratio]
        return max(clean or tried, key=lambda each: each.decoding.avg_logprob)

    def _generate(
        self,
        encoded: Any,
        prompt: list[int],
        count: int,
        tokenizer: Any,
        decode: Decode,
        temperature: float,
    ) -> list[tuple[list[int], Decoding]]:
        search: dict[str, Any] = {"beam_size": decode.beam_size, "patience": decode.patience}
        if temperature > 0:
            search = {"beam_size": 1, "num_hypotheses": decode.best_of, "sampling_topk": 0}
            search["sampling_temperature"] = temperature
        results = self._model.model.generate(
            encoded,
            [prompt] * count,
            max_length=_MAX_TOKENS,
            length_penalty=decode.length_penalty,
            repetition_penalty=decode.repetition_penalty,
            no_repeat_ngram_size=decode.no_repeat_ngram_size,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=[-1],
            **search,
        )
        return [_decoded(result, tokenizer, temperature, decode.length_penalty) for result in results]

    def _align(
        self, tokenizer: Any, tokens: list[list[int]], encoded: Any, frames: list[int]
    ) -> list[list[dict[str, Any]]]:
        from faster_whisper.transcribe import merge_punctuations

        timed: list[list[dict[str, Any]]] = self._model.find_alignment(tokenizer, tokens, encoded, frames)
        for words in timed:
            merge_punctuations(words, _PREPENDED, _APPENDED)
        return timed

    def _prompt(self, tokenizer: Any, decode: Decode, context: str) -> list[int]:
        before = " ".join(part for part in (decode.initial_prompt, context) if part)
        previous = tokenizer.encode(f" {before.strip()}") if before else []
        prompt: list[int] = self._model.get_prompt(
            tokenizer, previous, without_timestamps=True, hotwords=decode.hotwords
        )
        return prompt

    def _features(self, samples: Samples) -> Samples:
        features: Samples = self._model.feature_extractor(samples)[..., :-1]
        return features

    def _make_tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)


def encode(model: WhisperModel, windows: Sequence[Samples]) -> Any:
    """Return the encodings of windows of features, for a decoder that takes them at once.

    A card encodes them at once. On a processor that is no faster (four windows of base: 8.2 s, one by one 8.0 s) and gives the same
    numbers, but attention, 80 MB a window, is then held for all of them: 690 MB in place of 370.
    """
    if model.model.device != "cpu":
        return model.encode(np.stack(windows))
    from ctranslate2 import StorageView

    encoded = [np.array(model.encode(window[None])) for window in windows]
    return StorageView.from_array(np.concatenate(encoded))


def _shared_out(windows: Sequence[Samples], shares: int) -> list[Sequence[Samples]]:
    """Return the windows in so many runs of nearly equal length, none empty."""
    edges = [len(windows) * place // shares for place in range(shares + 1)]
    return [windows[first:last] for first, last in pairwise(edges) if first < last]


def _fitted(features: Samples, frames: int) -> Samples:
    """Return features cut or filled up with silence to so many frames."""
    features = features[..., :frames]
    return np.pad(features, ((0, 0), (0, frames - features.shape[-1])))


def _decoded(
    result: Any, tokenizer: Any, temperature: float, length_penalty: float
) -> tuple[list[int], Decoding]:
    tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
    length = len(result.sequences_ids[0])
    text = tokenizer.decode(tokens).strip()
    decoding = Decoding(
        avg_logprob=result.scores[0] * length**length_penalty / (length + 1),
        no_speech_prob=result.no_speech_prob,
        compression_ratio=compression_ratio(text),
        temperature=temperature,
    )
    return tokens, decoding


def _with_times(
    tokens: list[int], decoding: Decoding, timed: list[dict[str, Any]], tokenizer: Any, seconds: float
) -> HeardWindow:
    """Return a window's words with the times that the alignment gave; spread over the window where it gave none."""
    words = tuple(
        Word(float(each["start"]), float(each["end"]), each["word"], float(each["probability"]))
        for each in timed
        if each["word"].strip()
    )
    text = tokenizer.decode(tokens)
    if _bare("".join(word.text for word in words)) == _bare(text):
        kept = tuple(tuple(each["tokens"]) for each in timed if each["word"].strip())
        return HeardWindow(words, decoding, kept)
    texts, pieces = tokenizer.split_to_word_tokens(tokens)
    usable = [(each, tuple(piece)) for each, piece in zip(texts, pieces, strict=True) if each.strip()]
    spreaded = spread([each for each, _ in usable], 0.0, seconds, float(np.exp(decoding.avg_logprob)))
    return HeardWindow(spreaded, decoding, tuple(piece for _, piece in usable))


def _bare(text: str) -> str:
    return "".join(text.split())
