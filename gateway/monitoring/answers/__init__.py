"""What the monitoring routes answer, as models."""
