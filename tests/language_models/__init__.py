"""Tests of the room that speaks to language models, against a real server that does what models do."""
