"""How likely speech is in each moment of a recording: Silero's network, which ships inside faster-whisper. Knows samples alone.

Nodes share this room so that none imports another: the one that hears cuts recordings by it, the one of subtitles moves cues to it.
"""

from voice_activity.silero import FRAME_SAMPLES, FRAME_SECONDS, RATE, Samples, probabilities

__all__ = ["FRAME_SAMPLES", "FRAME_SECONDS", "RATE", "Samples", "probabilities"]
