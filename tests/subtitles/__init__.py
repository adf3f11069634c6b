"""Tests of the room `subtitles`."""
