"""Tests of callbacks and their delivery."""
