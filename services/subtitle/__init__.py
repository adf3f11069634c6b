"""The subtitle node (tasks `wservice.*`): transcripts and speakers become subtitles, and subtitles are mended and converted."""
