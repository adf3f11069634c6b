"""How long a holder of a device may be silent in a stack on one machine."""

from __future__ import annotations

from gpulock.settings import GpulockSettings
from runtime.settings import load_settings

_SHORT_SILENCES = {
    "gpu_lock_monitor__heartbeat__interval": "5",
    "gpu_lock_monitor__heartbeat__timeout": "20",
    "gpulock__recovery_window_seconds": "10",
}
"""Everything is on one machine, so that a holder that has been silent for seconds is dead, and nobody waits for the minutes that
the lock service gives the holders of a cluster."""


def own_silences() -> dict[str, str]:
    """Return the stack's own beats; none where beats are set, since a part's environment would go before that."""
    set_by_user = load_settings(GpulockSettings).gpu_lock_monitor.model_fields_set
    return {} if "heartbeat" in set_by_user else _SHORT_SILENCES
