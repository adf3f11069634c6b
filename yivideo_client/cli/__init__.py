"""The command `yivideo`: data on stdout, progress and errors on stderr, exit codes that scripts can rely on."""
