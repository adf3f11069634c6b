"""The node that hears (tasks `faster_whisper.*`): speech becomes text with the time of every word."""
