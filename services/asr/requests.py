"""From the task's input to what engines are told, so that neither knows the other."""

from __future__ import annotations

from math import inf

from services.asr.engines import Wish
from services.asr.inputs import TranscribeAudioInput, VadParameters
from services.asr.options import Decode, Options, VadRules
from services.asr.settings import AsrSection


def to_wish(request: TranscribeAudioInput, settings: AsrSection) -> Wish:
    """Return which engine and model are asked for."""
    return Wish(request.engine, request.model, settings.model, language_of(request))


def language_of(request: TranscribeAudioInput) -> str | None:
    """Return the language that was given; None: to be found out."""
    return None if request.language in (None, "auto") else request.language


def to_options(request: TranscribeAudioInput, settings: AsrSection) -> Options:
    """Return what the recognition is told."""
    temperature = request.temperature
    return Options(
        language=language_of(request),
        multilingual=request.multilingual,
        vad_filter=request.vad_filter,
        vad=_vad_rules(request.vad_parameters),
        decode=Decode(
            task=request.task,
            beam_size=request.beam_size,
            batch_size=request.batch_size or settings.batch_size,
            temperatures=tuple(temperature) if isinstance(temperature, list) else (temperature,),
            compression_ratio_threshold=request.compression_ratio_threshold,
            log_prob_threshold=request.log_prob_threshold,
            no_speech_threshold=request.no_speech_threshold,
            condition_on_previous_text=request.condition_on_previous_text,
            initial_prompt=request.initial_prompt,
            hotwords=request.hotwords,
            best_of=request.best_of,
            patience=request.patience,
            length_penalty=request.length_penalty,
            repetition_penalty=request.repetition_penalty,
            no_repeat_ngram_size=request.no_repeat_ngram_size,
        ),
        clips=request.clips(),
        hallucination_silence_seconds=request.hallucination_silence_threshold,
        chinese=request.chinese,
    )


def _vad_rules(given: VadParameters) -> VadRules:
    return VadRules(
        threshold=given.threshold,
        neg_threshold=given.neg_threshold,
        min_speech_seconds=given.min_speech_duration_ms / 1000,
        max_speech_seconds=given.max_speech_duration_s or inf,
        min_silence_seconds=given.min_silence_duration_ms / 1000,
        pad_seconds=given.speech_pad_ms / 1000,
    )
