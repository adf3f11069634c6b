"""Tests of the speech recognition node."""
