"""Tests of attempts: dispatch, nodes that fail, take-over, cancel."""
