"""Mending damaged subtitles by rule: each fix takes cues and returns cues with a list of what it changed."""
