"""Text made ready to be spoken: what is written in figures and signs becomes words, and long texts become sentences."""
