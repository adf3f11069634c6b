"""The facade below /v1/monitoring and /api/v1/monitoring: who holds GPUs, who waits, and who watches over them."""

from gateway.monitoring.facade import facade

__all__ = ["facade"]
