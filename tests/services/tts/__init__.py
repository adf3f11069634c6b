"""Tests of the node that speaks."""
