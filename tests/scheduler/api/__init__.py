"""Tests of what clients call: submits, watching, workflows, lists."""
