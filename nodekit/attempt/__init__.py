"""Attempts of one replica: TaskService, slots, events, and the task function in its context."""
