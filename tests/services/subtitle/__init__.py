"""Tests of the subtitle node."""
