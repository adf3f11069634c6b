"""Tests of the language model node."""
