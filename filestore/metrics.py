"""What the filestore tells Prometheus beside the figures every process has."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge

RECEIVED_BYTES = Counter(
    "yivideo_filestore_received_bytes_total", "Bytes of uploads, whether they were kept or not."
)
SENT_BYTES = Counter("yivideo_filestore_sent_bytes_total", "Bytes of downloads.")
TRANSFERS = Gauge("yivideo_filestore_transfers", "Transfers under way.", ["direction"])
REFUSED_TRANSFERS = Counter(
    "yivideo_filestore_refused_transfers_total", "Transfers refused because too many run."
)
STORED_BYTES = Gauge("yivideo_filestore_stored_bytes", "Bytes in the default bucket, as last counted.")
STORED_FILES = Gauge("yivideo_filestore_stored_files", "Files in the default bucket, as last counted.")
QUOTA_BYTES = Gauge("yivideo_filestore_quota_bytes", "Bytes that the default bucket may hold; 0: no limit.")
FREE_BYTES = Gauge(
    "yivideo_filestore_free_bytes",
    "What the disk below a local folder can still take; NaN: the store is no folder.",
)
FREE_BYTES.set(math.nan)
HEALTHY = Gauge("yivideo_filestore_store_up", "Whether the object store answered when it was last asked.")
CLEANED_UPLOADS = Counter("yivideo_filestore_cleaned_uploads_total", "Abandoned uploads that were removed.")
