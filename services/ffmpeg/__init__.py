"""FFmpeg node: takes sound, key frames, subtitle strips and segments out of media files."""
