"""Tests of the queue in Redis: its scripts against a model, what enters it and what it keeps."""
