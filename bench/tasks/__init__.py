"""Measures a task's way from submit to its end, against what people would use instead: `python -m bench.tasks`."""
