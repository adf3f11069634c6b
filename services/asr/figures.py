"""Prometheus figures of hearing. Loads, warm starts and run times are nodekit's. Never labelled by task or user."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REAL_TIME_FACTOR = Histogram(
    "yivideo_asr_real_time_factor",
    "Seconds of hearing for each second of audio.",
    ["engine", "model", "device"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, float("inf")),
)
AUDIO_SECONDS = Counter("yivideo_asr_audio_seconds_total", "Audio heard.", ["engine", "model", "device"])
LOAD_SECONDS = Histogram(
    "yivideo_asr_load_seconds",
    "Seconds that loading a model took.",
    ["engine", "model", "device"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, float("inf")),
)
DROPPED_WORDS = Counter(
    "yivideo_asr_dropped_words_total", "Words that were not believed.", ["engine", "model"]
)
