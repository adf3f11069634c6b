"""The node that reads: text in pictures and burned-in subtitles of films."""
