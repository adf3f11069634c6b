"""Media in and out: references become local files, outputs become objects."""
