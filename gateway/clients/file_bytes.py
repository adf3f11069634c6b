"""Counts the bytes of files that pass through this process."""

from __future__ import annotations

from prometheus_client import Counter

FILE_BYTES = Counter("yivideo_http_file_bytes", "Bytes of files that passed through.", ["direction"])
