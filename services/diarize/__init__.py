"""Diarization node: finds who speaks when in a recording, and gives words their speakers."""
