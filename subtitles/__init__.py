"""Subtitles as data: cues, the file forms they come in and go out in, how they are read by people. Pure: no tasks, no gRPC.

Nodes that make or take subtitles share this room, so that a file form is read and written by one piece of code.
"""
