"""Speech recognition node: hears what is said in audio and film, with the time of every word."""
