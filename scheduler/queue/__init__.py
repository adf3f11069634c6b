"""Tasks as Redis holds them: admission, the scripts' names and arguments, and what they answer. Runs nothing."""
